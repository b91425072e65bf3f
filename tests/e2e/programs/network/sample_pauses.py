"""Looks for pauses from the file ``begun`` to the file ``enough``; reports those that it saw."""

import time
from dataclasses import asdict
from pathlib import Path

from tests.e2e.programs.facts import report
from topologies.machine.pauses import PauseSampler


def main() -> None:
    with PauseSampler() as machine:
        Path("begun").touch()
        while not Path("enough").exists():
            time.sleep(0.02)
        pauses = machine.pauses()
    assert pauses is not None
    report(pauses=[asdict(each) for each in pauses])


if __name__ == "__main__":
    main()
