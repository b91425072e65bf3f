"""Idle time is measured per second, from what proc(5) says the kernel counts."""

import time
from itertools import pairwise

from topologies.cpu import CpuIdleSampler, IdleSample, parse_times

STAT = """\
cpu  539 1 63 50 7 2 3 4 100 0
cpu0 539 1 63 50 7 2 3 4 100 0
intr 1
"""


def test_waiting_for_a_disk_is_idle_and_guest_time_is_not_counted_twice() -> None:
    assert parse_times(STAT) == (50 + 7, 539 + 1 + 63 + 50 + 7 + 2 + 3 + 4)


def samples_of(cpu: CpuIdleSampler, count: int) -> list[IdleSample]:
    """The first samples, as soon as there are so many."""
    deadline = time.monotonic() + 20
    while len(cpu.samples()) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    return cpu.samples()[:count]


def test_samples_follow_each_other_and_are_shares() -> None:
    with CpuIdleSampler(period_s=0.1) as cpu:
        samples = samples_of(cpu, 4)
    assert len(samples) == 4
    assert all(before.end_ns <= after.begin_ns for before, after in pairwise(samples))
    assert all(0 <= sample.idle_share <= 1 for sample in samples)
    assert all(sample.end_ns - sample.begin_ns > 90_000_000 for sample in samples)


def test_a_window_takes_only_the_samples_inside_it() -> None:
    with CpuIdleSampler(period_s=0.05) as cpu:
        everything = samples_of(cpu, 5)
        middle = cpu.samples(everything[1].begin_ns, everything[3].end_ns)
    assert middle == everything[1:4]
