"""Times at which the machine did not run what was due, and what they took of the windows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.pauses import Pause, parse_pauses, paused_during

MS = 1_000_000
SPANS = st.lists(st.tuples(st.integers(0, 90), st.integers(1, 20)), max_size=8)


def test_what_the_waker_writes_is_read_as_far_as_it_is_complete() -> None:
    assert parse_pauses("ready\n") == []
    assert parse_pauses("ready\n5 7\n20 3\n40 1") == [Pause(5, 12), Pause(20, 23)]


@pytest.mark.parametrize("told", ["", "rea", "Traceback: not permitted\n"])
def test_a_waker_without_real_time_priority_saw_nothing_and_says_so(told: str) -> None:
    assert parse_pauses(told) is None


def test_only_what_lies_in_a_window_counts() -> None:
    pauses = [Pause(0, 30 * MS), Pause(60 * MS, 65 * MS), Pause(200 * MS, 300 * MS)]
    paused = paused_during([(20 * MS, 100 * MS), (290 * MS, 310 * MS)], pauses)
    assert (paused.windows_ms, paused.paused_ms, paused.longest_ms) == (100, 25, 10)
    assert paused.share == pytest.approx(0.25)


def test_without_windows_nothing_was_paused() -> None:
    assert paused_during([], [Pause(0, MS)]).share == 0


@given(SPANS, SPANS)
def test_every_millisecond_counts_once(windows: list, spans: list) -> None:
    pauses, free = [], 0
    for begin, length in sorted(spans):  # a waker's pauses never overlap
        if begin >= free:
            pauses.append(Pause(begin * MS, (begin + length) * MS))
            free = begin + length
    asked = [(begin * MS, (begin + length) * MS) for begin, length in windows]
    inside = {ms for begin, length in windows for ms in range(begin, begin + length)}
    stood = {ms for each in pauses for ms in range(each.begin_ns // MS, each.end_ns // MS)}
    paused = paused_during(asked, pauses)
    assert (paused.windows_ms, paused.paused_ms) == (len(inside), len(inside & stood))
