"""Times at which the machine did not run what was due, and what they took of the windows."""

import signal
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.machine import pauses
from topologies.machine.pauses import WAKER, Pause, PauseSampler, parse_pauses, paused_during

MS = 1_000_000
SPANS = st.lists(st.tuples(st.integers(0, 90), st.integers(1, 20)), max_size=8)


def test_what_the_waker_writes_is_read_as_far_as_it_is_complete() -> None:
    assert parse_pauses("ready\n") == []
    assert parse_pauses("ready\n5 7\n20 3\n40 1") == [Pause(5, 12), Pause(20, 23)]


@pytest.mark.parametrize("told", ["", "rea", "Traceback: not permitted\n"])
def test_a_waker_without_real_time_priority_saw_nothing_and_says_so(told: str) -> None:
    assert parse_pauses(told) is None


def test_only_what_lies_in_a_window_counts() -> None:
    stops = [Pause(0, 30 * MS), Pause(60 * MS, 65 * MS), Pause(200 * MS, 300 * MS)]
    paused = paused_during([(20 * MS, 100 * MS), (290 * MS, 310 * MS)], stops)
    assert (paused.windows_ms, paused.paused_ms, paused.longest_ms) == (100, 25, 10)
    assert paused.share == pytest.approx(0.25)


def test_without_windows_nothing_is_said() -> None:
    assert paused_during([], [Pause(0, MS)]).share is None


@pytest.fixture
def ordinary_waker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The waker without real-time priority, which tests need not have."""
    lines = WAKER.read_text().splitlines(keepends=True)
    path = tmp_path / "waker.py"
    path.write_text("".join(line for line in lines if "sched_setscheduler" not in line))
    monkeypatch.setattr(pauses, "WAKER", path)
    return path


def test_what_stops_the_waker_is_a_pause_of_that_length(ordinary_waker: Path) -> None:
    with PauseSampler() as sampler:
        assert sampler.pauses() is not None  # ready from the beginning
        for blow in (signal.SIGSTOP, signal.SIGCONT):
            sampler._waker.send_signal(blow)
            time.sleep(0.2)
        seen = sampler.pauses()
    assert seen is not None
    assert 0.19 <= max(each.end_ns - each.begin_ns for each in seen) / 1e9 < 2


@pytest.mark.parametrize("program", ["import os; os.write(1, b'ready\\n')", "raise OSError"])
def test_a_waker_that_ended_saw_nothing_whatever_it_wrote(
    program: str, ordinary_waker: Path
) -> None:
    ordinary_waker.write_text(program)
    with PauseSampler() as sampler:
        sampler._waker.wait()
        assert sampler.pauses() is None


@given(SPANS, SPANS)
def test_every_millisecond_counts_once(windows: list, spans: list) -> None:
    stops, free = [], 0
    for begin, length in sorted(spans):  # a waker's pauses never overlap
        if begin >= free:
            stops.append(Pause(begin * MS, (begin + length) * MS))
            free = begin + length
    asked = [(begin * MS, (begin + length) * MS) for begin, length in windows]
    inside = {ms for begin, length in windows for ms in range(begin, begin + length)}
    stood = {ms for each in stops for ms in range(each.begin_ns // MS, each.end_ns // MS)}
    paused = paused_during(asked, stops)
    assert (paused.windows_ms, paused.paused_ms) == (len(inside), len(inside & stood))
