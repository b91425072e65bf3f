"""Progress of a build: one bar over all phases, weighted by what they usually take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed


@dataclass(frozen=True)
class Extent:
    """Usual cost of a phase: seconds of two cores, and lines of output."""

    seconds: float
    lines: int


EXTENTS = {
    "download": Extent(seconds=5, lines=0),
    "unpack": Extent(seconds=12, lines=36_000),
    "configure": Extent(seconds=6, lines=16),
    "compile": Extent(seconds=200, lines=1118),
}


class BuildPhase:
    """A phase at work: told of lines or of a share, it moves the bar, never beyond its end."""

    def __init__(self, progress: "BuildProgress", begin_s: float, extent: Extent) -> None:
        self._progress = progress
        self._begin_s = begin_s
        self._extent = extent
        self._lines = 0

    def line(self, _: str) -> None:
        """Another line of output has come."""
        self._lines += 1
        self.reached(self._lines / self._extent.lines)

    def reached(self, share: float) -> None:
        """The share of the phase that is done, 0 to 1."""
        self._progress.move(self._begin_s + min(share, 1.0) * self._extent.seconds)


class BuildProgress:
    """The bar of a build; a context manager. Without a terminal nothing is drawn."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            Elapsed(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._took: list[str] = []
        self._task = self._bar.add_task("", total=sum(each.seconds for each in EXTENTS.values()))

    @contextmanager
    def phase(self, name: str) -> Iterator[BuildPhase]:
        """One phase, from its beginning on the bar to its end."""
        names = list(EXTENTS)
        begin_s = sum(EXTENTS[before].seconds for before in names[: names.index(name)])
        self._bar.update(self._task, description=name, completed=begin_s)
        phase = BuildPhase(self, begin_s, EXTENTS[name])
        begin = time.monotonic()
        yield phase
        self._took.append(f"{name} {time.monotonic() - begin:.0f}")
        phase.reached(1.0)

    def took(self) -> str:
        """Seconds of each phase that has ended, in words."""
        return ", ".join(self._took)

    def move(self, seconds: float) -> None:
        """Draw the bar at ``done_s`` of the usual seconds."""
        self._bar.update(self._task, completed=seconds)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
