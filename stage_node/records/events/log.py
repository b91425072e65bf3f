"""Writes and reads the event log of a run."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from stage_node.records.events.event import Event


class EventLog:
    """Appends events of one process to the run's file."""

    def __init__(self, path: Path, who: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._who = who

    def emit(self, event: Event) -> None:
        """Record one event, stamped with this process and, unless given, the present time."""
        stamped = event.stamped(time.monotonic_ns(), self._who)
        os.write(self._fd, (stamped.to_json() + "\n").encode())

    def close(self) -> None:
        """Close the file; further events are an error."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_events(path: Path) -> Iterator[Event]:
    """Every complete event of a file, in the order of writing."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield Event.from_json(line)
