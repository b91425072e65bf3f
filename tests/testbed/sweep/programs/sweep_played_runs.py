"""Sweeps with played runs, as the tests do, in a process that can be interrupted.

Arguments: the sweep's file and its directory.
"""

import sys
from pathlib import Path

from rich.console import Console

from testbed.errors import RunInterruptedError
from testbed.hosts.choose import HostWish
from testbed.sweep import run as sweep_run
from testbed.sweep.cluster import connected
from tests.testbed.sweep.played_runs import played_arguments, undisturbed


def main() -> None:
    file, out = map(Path, sys.argv[1:])
    sweep_run.cell_arguments = played_arguments
    isolated = undisturbed(connected, file.parent)
    sweep_run.connected = isolated  # type: ignore[attr-defined, assignment]
    wish, workers = HostWish("microvm", "real"), sweep_run.Workers(2)
    try:
        sweep_run.run_sweep(file, wish, out, workers, False, Console())
    except RunInterruptedError as error:
        print(error)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
