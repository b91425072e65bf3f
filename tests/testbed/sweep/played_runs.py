"""Sweeps whose cells are played, on workers that nothing else on this machine disturbs."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from distributed import Client

from testbed.sweep import run as sweep_run
from testbed.sweep.file import Cell
from testbed.sweep.run import CellPlace

Connected = Callable[[str | None, int], AbstractContextManager[Client]]

PROGRAMS = Path(__file__).with_name("programs")
REAL_ARGUMENTS = sweep_run.cell_arguments


def played_arguments(cell: Cell, place: CellPlace, directory: Path) -> tuple[str, ...]:
    """The command line of a cell, for a program that plays the run."""
    module = REAL_ARGUMENTS(cell, place, directory)
    assert module[:4] == ("-P", "-m", "testbed", "run")
    return (str(PROGRAMS / "played_run.py"), *module[3:])


def undisturbed(connected: Connected, place: Path) -> Connected:
    """Workers that know of no guests but their own, whatever else this machine runs."""
    claims = str(place)[-60:]

    def isolate() -> None:
        import testbed.hosts.cpu

        testbed.hosts.cpu.CLAIMS = claims

    @contextmanager
    def wrapped(address: str | None, jobs: int) -> Iterator[Client]:
        with connected(address, jobs) as client:
            client.run(isolate)
            yield client

    return wrapped
