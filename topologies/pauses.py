"""Pauses: times at which the machine did not run what was due.

Idle CPU time cannot show them: where another guest or the hypervisor takes the processor away, the
emulation's own counters stand still. A process at real-time priority asks to be woken every few
milliseconds (:mod:`topologies.waker`); what lets it wait lets every packet and every stage wait.
On a machine of several CPUs it sees the pauses of the one that it is on.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from topologies.cpu import Window, united

WAKER = Path(__file__).with_name("waker.py")
PERIOD_MS = 4.0
LEAST_MS = 1.0


@dataclass(frozen=True)
class Pause:
    """Nothing ran from when a wake was due until it came (monotonic ns)."""

    begin_ns: int
    end_ns: int


@dataclass(frozen=True)
class Paused:
    """What pauses took of ``windows_ms``: shorter ones than ``LEAST_MS`` are not counted.

    A pause is seen from the moment at which a wake is due, up to ``PERIOD_MS`` after it began.
    """

    windows_ms: float
    paused_ms: float
    longest_ms: float

    @property
    def share(self) -> float:
        """Share (0..1) of the windows' time."""
        return self.paused_ms / self.windows_ms if self.windows_ms else 0.0


def paused_during(windows: Iterable[Window], pauses: Sequence[Pause]) -> Paused:
    """How much of the windows (monotonic ns) was paused; windows that overlap count once."""
    apart = united(windows)
    within = [
        min(pause.end_ns, end_ns) - max(pause.begin_ns, begin_ns)
        for begin_ns, end_ns in apart
        for pause in pauses
        if pause.begin_ns < end_ns and begin_ns < pause.end_ns
    ]
    return Paused(
        windows_ms=sum(end_ns - begin_ns for begin_ns, end_ns in apart) / 1e6,
        paused_ms=sum(within) / 1e6,
        longest_ms=max(within, default=0) / 1e6,
    )


def parse_pauses(told: str) -> list[Pause] | None:
    """What the waker wrote, as far as it is complete; None if it could not do its work."""
    first, *lines = told.split("\n")[:-1] or [""]
    if first != "ready":
        return None
    numbers = (tuple(map(int, line.split())) for line in lines)
    return [Pause(due_ns, due_ns + late_ns) for due_ns, late_ns in numbers]


class PauseSampler:
    """Looks until closed: ``with PauseSampler() as sampler: ...; sampler.pauses()``."""

    def __enter__(self) -> Self:
        self._told = tempfile.TemporaryFile()
        self._waker = subprocess.Popen(
            [sys.executable, "-I", "-S", str(WAKER), str(PERIOD_MS), str(LEAST_MS)],
            stdin=subprocess.DEVNULL,
            stdout=self._told,
            stderr=subprocess.DEVNULL,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._waker.kill()
        self._waker.wait()
        self._told.close()

    def pauses(self) -> list[Pause] | None:
        """All so far, in order of time; None where real-time priority was refused."""
        told = self._told.fileno()  # its position is the waker's as well: not to be moved
        return parse_pauses(os.pread(told, os.fstat(told).st_size, 0).decode())
