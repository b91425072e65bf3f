"""Idle time is judged per second of the windows that matter, from what proc(5) says is counted."""

import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.machine.cpu import CpuReading, CpuSampler, idle_during, parse_times

STAT = """\
cpu  539 1 63 50 7 2 3 4 100 0
cpu0 539 1 63 50 7 2 3 4 100 0
intr 1
"""
S = 1_000_000_000


def test_waiting_for_a_disk_is_idle_and_guest_time_is_not_counted_twice() -> None:
    assert parse_times(STAT) == (50 + 7, 539 + 1 + 63 + 50 + 7 + 2 + 3 + 4)


def readings(idle_at: Callable[[float], bool], seconds: float) -> list[CpuReading]:
    """A CPU of 100 ticks per second, read ten times a second; who is idle in each tick."""
    ticks = [idle_at((number + 0.5) / 100) for number in range(round(seconds * 100))]
    return [
        CpuReading(t_ns=end * S // 100, idle=sum(ticks[:end]), total=end)
        for end in range(0, len(ticks) + 1, 10)
    ]


def shares(windows: list[tuple[float, float]], of: list[CpuReading]) -> list[float]:
    in_ns = [(round(begin * S), round(end * S)) for begin, end in windows]
    return [sample.idle_share for sample in idle_during(in_ns, of)]


def test_a_busy_second_is_found_in_a_long_window() -> None:
    busy_from_2_to_3 = readings(lambda t: not 2 <= t < 3, seconds=6)
    assert shares([(0, 5)], busy_from_2_to_3) == pytest.approx([1, 1, 0, 1, 1])
    assert shares([(2, 3), (4, 5)], busy_from_2_to_3) == pytest.approx([0, 1])


def test_a_download_of_400_ms_is_judged_as_a_whole() -> None:
    busy_half_the_time = readings(lambda t: t % 0.2 < 0.1, seconds=2)
    assert shares([(1.1, 1.5)], busy_half_the_time) == pytest.approx([0.5])


def test_a_window_between_two_readings_takes_its_share_of_them() -> None:
    idle = readings(lambda t: t >= 1, seconds=2)
    assert shares([(0.75, 1.25)], idle) == pytest.approx([0.5])


def test_windows_that_overlap_count_once() -> None:
    idle = readings(lambda t: True, seconds=4)
    assert len(shares([(0, 2), (1, 3), (1.5, 1.6)], idle)) == 3


def test_what_the_ticks_cannot_resolve_or_nobody_read_is_not_judged() -> None:
    idle = readings(lambda t: True, seconds=2)
    assert shares([(1, 1.05), (5, 6)], idle) == []
    assert shares([(0, 1)], idle[:1]) == []
    assert shares([], idle) == []


@given(st.lists(st.tuples(st.floats(0, 8), st.floats(0.1, 4)), min_size=1, max_size=6))
def test_nothing_of_a_window_is_left_out(spans: list[tuple[float, float]]) -> None:
    windows = [(round(begin * S), round((begin + length) * S)) for begin, length in spans]
    parts = idle_during(windows, readings(lambda t: True, seconds=13))
    covered = sum(part.end_ns - part.begin_ns for part in parts)
    touched = {t for begin, end in windows for t in range(begin // 10**7 + 1, end // 10**7)}
    assert covered / 10**7 == pytest.approx(len(touched), abs=2 * len(windows) + 10)
    assert all(part.end_ns - part.begin_ns <= 1.5 * S + 1 for part in parts)


def test_the_sampler_reads_ten_times_a_second_up_to_its_end() -> None:
    with CpuSampler() as cpu:
        begin_ns = time.monotonic_ns()
        time.sleep(0.5)
        end_ns = time.monotonic_ns()
    read = cpu.readings()
    assert len(read) >= 4
    assert all(early.t_ns < late.t_ns for early, late in pairwise(read))
    assert read[-1].t_ns >= end_ns
    (sample,) = idle_during([(begin_ns, end_ns)], read)
    assert 0 <= sample.idle_share <= 1
