"""Idle CPU: an emulation is only as good as the CPU time it gets.

A thread reads the kernel's counters ten times a second, so that short windows can be judged too.
What is judged are parts of about a second: the counters move in ticks of 10 ms, a tenth of a
second alone would be known to a tenth only.
"""

import os
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from topologies.machine.background import Background

PROC_STAT = Path("/proc/stat")
FIRST_LINE_BYTES = 512
PERIOD_S = 0.1
PART_S = 1.0
LEAST_TICKS = 10  # fewer do not make a share

Window = tuple[int, int]


@dataclass(frozen=True)
class CpuReading:
    """Ticks of all CPUs together since boot, at a monotonic time."""

    t_ns: int
    idle: float
    total: float


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


def idle_during(windows: Iterable[Window], readings: Sequence[CpuReading]) -> list[IdleSample]:
    """Idle share of every second, about, of the windows (monotonic ns); of a short one, as a whole.

    Windows that overlap count once. Each is cut into equal parts as near to a second as they can
    be, so that nothing of it is left out. What has no two readings or fewer than ``LEAST_TICKS``
    ticks is not judged.
    """
    if len(readings) < 2:
        return []
    samples = []
    for begin_ns, end_ns in _parts(united(windows)):
        begin, end = _at(readings, begin_ns), _at(readings, end_ns)
        ticks = end.total - begin.total
        if ticks >= LEAST_TICKS:
            share = min(1.0, (end.idle - begin.idle) / ticks)  # interpolation rounds
            samples.append(IdleSample(begin_ns, end_ns, share))
    return samples


def united(windows: Iterable[Window]) -> list[Window]:
    """The windows in order of time; those that overlap are one."""
    united: list[Window] = []
    for begin, end in sorted(windows):
        if united and begin < united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], end))
        else:
            united.append((begin, end))
    return united


class CpuSampler(Background):
    """Reads in a thread until closed: ``with CpuSampler() as cpu: ...; cpu.readings()``."""

    def __init__(self) -> None:
        super().__init__("cpu-idle")
        self._readings: list[CpuReading] = []

    def readings(self) -> list[CpuReading]:
        """All readings so far, in order, ``PERIOD_S`` apart."""
        return list(self._readings)

    def _work(self) -> None:
        stat = os.open(PROC_STAT, os.O_RDONLY)
        try:
            while True:
                text = os.pread(stat, FIRST_LINE_BYTES, 0).decode()
                self._readings.append(CpuReading(time.monotonic_ns(), *parse_times(text)))
                if self._ended.is_set():
                    return
                self._ended.wait(PERIOD_S)
        finally:
            os.close(stat)


def _parts(windows: Iterable[Window]) -> list[Window]:
    parts = []
    for begin, end in windows:
        count = max(1, round((end - begin) / (PART_S * 1e9)))
        edges = [begin + (end - begin) * number // count for number in range(count + 1)]
        parts += list(pairwise(edges))
    return parts


def _at(readings: Sequence[CpuReading], t_ns: int) -> CpuReading:
    """The counters at a time, between two readings in proportion; outside all, the nearest."""
    late = min(max(bisect_left(readings, t_ns, key=lambda each: each.t_ns), 1), len(readings) - 1)
    before, after = readings[late - 1], readings[late]
    share = min(max((t_ns - before.t_ns) / (after.t_ns - before.t_ns), 0.0), 1.0)
    return CpuReading(
        t_ns=t_ns,
        idle=before.idle + share * (after.idle - before.idle),
        total=before.total + share * (after.total - before.total),
    )
