"""Pauses: times at which the emulation's kernel did not run what was due.

Idle CPU time cannot show them: where somebody else takes the processor away from a guest, the
guest's own counters stand still. A process at real-time priority asks to be woken every few
milliseconds (:mod:`topologies.machine.waker`); what lets it wait lets every packet and every stage
wait: other processes of the machine, to a microVM; the hypervisor, to a kernel on a virtual
machine; and stretches of the kernel's own work that nothing interrupts, such as a fork. Other
processes under the same kernel, on the native host, do not: those lower the idle CPU time. On
several CPUs it sees the pauses of the one that it is on.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from topologies.machine.cpu import Window, united

WAKER = Path(__file__).with_name("waker.py")
READY = "ready\n"
READY_S = 10.0
PERIOD_MS = 4.0
LEAST_MS = 1.0


@dataclass(frozen=True)
class Pause:
    """A pause: from when a wake was due until it came (monotonic ns)."""

    begin_ns: int
    end_ns: int


@dataclass(frozen=True)
class Paused:
    """Pauses within ``windows_ms``: shorter ones than ``LEAST_MS`` are not counted.

    A pause is seen from the moment at which a wake is due, up to ``PERIOD_MS`` after it began.
    """

    windows_ms: float
    paused_ms: float
    longest_ms: float

    @property
    def share(self) -> float | None:
        """Share (0..1) of the windows' time; None without windows."""
        return self.paused_ms / self.windows_ms if self.windows_ms else None


def paused_during(windows: Iterable[Window], pauses: Sequence[Pause]) -> Paused:
    """Sum the pauses within the windows (monotonic ns); windows that overlap count once."""
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
    """Read the waker's complete lines; None if it could not do its work."""
    if not told.startswith(READY):
        return None
    numbers = (tuple(map(int, line.split())) for line in told.split("\n")[1:-1])
    return [Pause(due_ns, due_ns + late_ns) for due_ns, late_ns in numbers]


class PauseSampler:
    """Looks from the first moment of the block: ``with PauseSampler() as it: ...; it.pauses()``."""

    def __enter__(self) -> Self:
        self._told = tempfile.TemporaryFile()
        self._waker = subprocess.Popen(
            [sys.executable, "-I", "-S", str(WAKER), str(PERIOD_MS), str(LEAST_MS)],
            stdin=subprocess.DEVNULL,
            stdout=self._told,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + READY_S
        while self._is_looking() and not self._text() and time.monotonic() < deadline:
            time.sleep(0.01)
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
        """All so far, in order of time; None if none were sampled, or not to this moment."""
        return parse_pauses(self._text()) if self._is_looking() else None

    def _is_looking(self) -> bool:
        return self._waker.poll() is None

    def _text(self) -> str:
        told = self._told.fileno()  # its position is the waker's as well: not to be moved
        return os.pread(told, os.fstat(told).st_size, 0).decode()
