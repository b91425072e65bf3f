"""Reading the events of a run while they are written."""

from pathlib import Path

from stage_node.records.events.event import Event


class EventFollower:
    """Reads an event log as it grows and hands over each complete line once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def fresh(self) -> list[Event]:
        """Events written since the last call."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            chunk = file.read()
        complete = chunk[: chunk.rfind(b"\n") + 1]
        self._offset += len(complete)
        return [Event.from_json(line) for line in complete.decode().splitlines()]
