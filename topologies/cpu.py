"""Idle CPU per second: an emulation is only as good as the CPU time it gets."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

PROC_STAT = Path("/proc/stat")
PERIOD_S = 1.0


@dataclass(frozen=True)
class IdleSample:
    """Share (0..1) of all CPUs' time that was idle between two monotonic times."""

    begin_ns: int
    end_ns: int
    idle_share: float


def parse_times(stat: str) -> tuple[int, int]:
    """First line of ``/proc/stat`` -> (idle, total) ticks of all CPUs; see proc(5).

    Waiting for I/O is idle; ``guest`` time is already part of ``user``.
    """
    ticks = [int(each) for each in stat.split("\n", 1)[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


class CpuIdleSampler:
    """Samples in a thread until closed: ``with CpuIdleSampler() as cpu: ...; cpu.samples()``."""

    def __init__(self, period_s: float = PERIOD_S) -> None:
        self._period_s = period_s
        self._samples: list[IdleSample] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cpu-idle", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def samples(self, begin_ns: int = 0, end_ns: int | None = None) -> list[IdleSample]:
        """The whole seconds inside a window of monotonic time, in order."""
        return [
            sample
            for sample in list(self._samples)
            if sample.begin_ns >= begin_ns and (end_ns is None or sample.end_ns <= end_ns)
        ]

    def _run(self) -> None:
        begin_ns, (idle, total) = time.monotonic_ns(), parse_times(PROC_STAT.read_text())
        while not self._ended.wait(self._period_s):
            end_ns, (idle_now, total_now) = time.monotonic_ns(), parse_times(PROC_STAT.read_text())
            if total_now > total:
                share = (idle_now - idle) / (total_now - total)
                self._samples.append(IdleSample(begin_ns, end_ns, share))
            begin_ns, idle, total = end_ns, idle_now, total_now
