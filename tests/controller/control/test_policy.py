"""Automatic control on simulated links, against fixed rungs and an oracle that knows the trace."""

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.control.policy import (
    Estimate,
    Option,
    PolicySettings,
    PolicyState,
    decide,
    front,
    most_accurate_within,
)
from controller.control.rate_estimate import RateEstimate

OPTIONS = front(
    [
        Option("uncompressed", (40_000,), 0.980),
        Option("8 bit", (10_000,), 0.979),
        Option("16 channels, 4 bit", (2_500,), 0.970),
        Option("8 channels, 4 bit", (1_250,), 0.955),
        Option("4 channels, 2 bit", (400,), 0.900),
    ]
)
SETTINGS = PolicySettings(bound_ms=60.0)
DELAY_MS, COMPUTE_MS = 10.0, 5.0


def estimate(rate_mbit: float) -> Estimate:
    return Estimate((rate_mbit,), DELAY_MS + COMPUTE_MS)


@dataclass(frozen=True)
class Served:
    """Frames within the bound and mean accuracy, both shares; and how often rungs changed."""

    within: float
    accuracy: float
    changes: int


def serve(trace_mbit: Sequence[float], choose: Callable[[int, float], int]) -> Served:
    """A frame per step of the trace; ``choose`` knows the step and the last frame's rate."""
    within, accuracies, choices = 0, [], []
    for step, rate in enumerate(trace_mbit):
        chosen = choose(step, trace_mbit[max(step - 1, 0)])
        choices.append(chosen)
        accuracies.append(OPTIONS[chosen].accuracy)
        within += estimate(rate).latency_ms(OPTIONS[chosen]) <= SETTINGS.bound_ms
    changes = sum(a != b for a, b in itertools.pairwise(choices))
    return Served(within / len(trace_mbit), sum(accuracies) / len(accuracies), changes)


def automatic(trace_mbit: Sequence[float], settings: PolicySettings = SETTINGS) -> Served:
    state, rate = PolicyState(chosen=len(OPTIONS) - 1), RateEstimate()

    def choose(step: int, last_mbit: float) -> int:
        nonlocal state, rate
        rate = rate.after(last_mbit)
        assert rate.rate_mbit is not None
        state = decide(OPTIONS, state, estimate(rate.rate_mbit), settings).state
        return state.chosen

    return serve(trace_mbit, choose)


def oracle(trace_mbit: Sequence[float]) -> Served:
    """Knows the rate of the very frame it chooses for."""

    def choose(step: int, _: float) -> int:
        best = most_accurate_within(OPTIONS, estimate(trace_mbit[step]), SETTINGS.bound_ms)
        return len(OPTIONS) - 1 if best is None else best

    return serve(trace_mbit, choose)


def fixed(trace_mbit: Sequence[float], option: int) -> Served:
    return serve(trace_mbit, lambda *_: option)


def cellular(seed: int, steps: int = 3000) -> list[float]:
    """A rate that wanders and fades: steps of a tenth of an octave or so, most of the time
    between 0.5 and 6 Mbit/s, now and then down to 0.35."""
    choose, octave, trace = random.Random(seed), 0.7, []
    for _ in range(steps):
        octave += choose.gauss(0, 0.12) + 0.01 * (0.7 - octave)
        octave = min(max(octave, -1.5), 5.3)
        trace.append(2.0**octave)
    return trace


def test_the_front_has_nothing_that_another_option_beats() -> None:
    beaten = Option("twice the bytes, less accurate", (20_000,), 0.95)
    assert front([beaten, *OPTIONS]) == OPTIONS
    assert OPTIONS[0].name == "uncompressed"


def test_a_steady_link_gets_the_most_accurate_rung_that_fits_and_keeps_it() -> None:
    for rate, name in ((200.0, "uncompressed"), (4.0, "8 bit"), (1.0, "16 channels, 4 bit")):
        trace = [rate] * 300
        state = PolicyState(chosen=len(OPTIONS) - 1)
        chosen = []
        for _ in trace:
            state = decide(OPTIONS, state, estimate(rate), SETTINGS).state
            chosen.append(state.chosen)
        assert OPTIONS[chosen[-1]].name == name
        assert len(set(chosen[30:])) == 1, "no flapping"


def test_a_fade_is_answered_by_the_next_decision_and_recovery_is_step_by_step() -> None:
    state = PolicyState(chosen=0)
    state = decide(OPTIONS, state, estimate(0.35), SETTINGS).state
    assert state.chosen == 3  # 1,250 B take 29 ms
    steps = []
    for _ in range(40):
        before = state.chosen
        state = decide(OPTIONS, state, estimate(200.0), SETTINGS).state
        steps.append(before - state.chosen)
    assert state.chosen == 0 and set(steps) == {0, 1}
    assert steps[: SETTINGS.patience] == [0] * (SETTINGS.patience - 1) + [1]


def test_a_climb_that_failed_makes_the_next_one_wait_longer() -> None:
    state = PolicyState(chosen=1)
    waits = []
    for _ in range(4):
        wait = 0
        while state.chosen == 1:
            state = decide(OPTIONS, state, estimate(50.0), SETTINGS).state
            wait += 1
        waits.append(wait)
        state = decide(OPTIONS, state, estimate(4.0), SETTINGS).state
        assert state.chosen == 1
    assert waits == [SETTINGS.patience * factor for factor in (1, 2, 4, 8)]


@pytest.mark.parametrize("seed", range(5))
def test_on_a_cellular_link_it_keeps_the_bound_and_comes_near_the_oracle(seed: int) -> None:
    trace = cellular(seed)
    auto, best = automatic(trace), oracle(trace)
    assert auto.within >= 0.95
    assert auto.accuracy >= best.accuracy - 0.01
    assert auto.changes < len(trace) / 10
    for option in range(len(OPTIONS)):
        other = fixed(trace, option)
        assert other.within < auto.within or other.accuracy <= auto.accuracy


@given(st.lists(st.floats(0.05, 500), min_size=1, max_size=200))
def test_whatever_the_link_does_nothing_is_kept_that_does_not_fit_the_estimate(
    rates: list[float],
) -> None:
    state = PolicyState(chosen=0)
    for rate in rates:
        decision = decide(OPTIONS, state, estimate(rate), SETTINGS)
        state = decision.state
        limit = SETTINGS.bound_ms * SETTINGS.headroom
        fits = estimate(rate).latency_ms(OPTIONS[state.chosen]) <= limit
        assert fits or state.chosen == len(OPTIONS) - 1
        assert decision.reason and 0 <= state.patience <= SETTINGS.most_patience


@given(
    before=st.floats(0.1, 100),
    samples=st.lists(st.floats(0.1, 100), min_size=1, max_size=50),
)
def test_an_estimate_stays_between_what_was_seen_and_falls_faster_than_it_rises(
    before: float, samples: list[float]
) -> None:
    rate = RateEstimate(before)
    for sample in samples:
        rate = rate.after(sample)
    assert rate.rate_mbit is not None
    seen = [before, *samples]
    assert min(seen) - 1e-9 <= rate.rate_mbit <= max(seen) + 1e-9
    up, down = RateEstimate(10.0).after(20.0).rate_mbit, RateEstimate(20.0).after(10.0).rate_mbit
    assert up is not None and down is not None and up - 10.0 < 20.0 - down
