"""The part of ``concertina fidelity`` that happens inside the host, for one profile.

``python -m testbed.fidelity.emulation NAME CLOCK``, in the directory of the measurement, reads
``NAME/profile.json``, leaves ``NAME/fidelity.json`` and reports its progress in ``events.jsonl``.
"""

import sys
from pathlib import Path

from stage_node.records.events import EventLog, Phase
from stage_node.records.run_directory import EVENTS
from stage_node.records.vocabulary import ClockKind
from testbed.errors import OUR_ERRORS
from topologies.fidelity.claims import ProfileFidelity
from topologies.fidelity.profile_check import examine
from topologies.links.profiles import LinkProfile

PROFILE = "profile.json"
MEASURED = "fidelity.json"


def main(name: str, clock: ClockKind) -> int:
    """Measure; what went wrong is part of the result."""
    directory = Path.cwd()
    folder = directory / name
    profile = LinkProfile.model_validate_json((folder / PROFILE).read_text())
    with EventLog(directory / EVENTS, name) as events:
        steps = Steps(events, profile.name)
        try:
            measured = examine(profile, folder, steps.begin, clock)
        except OUR_ERRORS as error:
            measured = ProfileFidelity(profile=profile, failure=str(error))
        steps.end()
    (folder / MEASURED).write_text(measured.model_dump_json(round_trip=True))
    return 0


class Steps:
    """One phase of the event log after the other."""

    def __init__(self, events: EventLog, profile: str) -> None:
        self._events = events
        self._profile = profile
        self._present: str | None = None

    def begin(self, step: str) -> None:
        """The step before has ended."""
        self.end()
        self._present = f"{self._profile}: {step}"
        self._events.emit(Phase(phase=self._present, state="begin"))

    def end(self) -> None:
        """The present step has ended, if there is one."""
        if self._present:
            self._events.emit(Phase(phase=self._present, state="end"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], "virtual" if sys.argv[2] == "virtual" else "real"))
