"""Intervals against other implementations, and against what they promise: to hold the truth."""

import numpy as np
import pytest
from scipy import stats

from analysis.metrics.intervals import of_frames, of_shares, welch


def test_welch_is_r_s_own_example() -> None:
    # R's t.test(extra ~ group, data = sleep), as its manual page prints it: -3.3654832, 0.2054832.
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    other = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    assert welch(first, other) == pytest.approx((-0.2054832, 3.3654832), abs=1e-7)


def test_runs_that_are_all_the_same_have_no_doubt() -> None:
    assert welch([3.0, 3.0], [5.0, 5.0]) == (2.0, 2.0)


def test_shares_are_newcombe_s_own_example() -> None:
    # Newcombe 1998, table II, case (a), method 10: 56/70 - 48/80 is 0.2, 0.0524 to 0.3339.
    low, high = of_shares(48 / 80, 80, 56 / 70, 70)
    assert (low, high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))


def test_shares_near_the_end_stay_between_minus_one_and_one() -> None:
    low, high = of_shares(1.0, 30, 0.0, 30)
    assert -1 <= low < -0.8
    assert high < -0.8


def autocorrelated(random: np.random.Generator, count: int) -> np.ndarray:
    """Frames whose neighbours are alike: AR(1) of mean 100."""
    values = np.empty(count)
    values[0] = random.normal(0, 1)
    for index in range(1, count):
        values[index] = 0.7 * values[index - 1] + random.normal(0, np.sqrt(1 - 0.7**2))
    return 100 + values


def test_intervals_of_frames_hold_the_truth_although_neighbours_are_alike() -> None:
    random = np.random.default_rng(4)
    held = independent = 0
    for _ in range(60):
        first, other = autocorrelated(random, 400), autocorrelated(random, 400) + 3
        low, high = of_frames(first, other, "mean")
        held += low <= 3 <= high
        naive = stats.ttest_ind(other, first, equal_var=False).confidence_interval(0.95)
        independent += naive.low <= 3 <= naive.high
    assert held >= 50  # of 60; 57 are promised for many more frames
    assert independent < held


def test_the_same_frames_give_the_same_interval_every_time() -> None:
    random = np.random.default_rng(5)
    first, other = random.gamma(2, 10, 90), random.gamma(2, 10, 130)
    assert of_frames(first, other, "median") == of_frames(first, other, "median")


def test_one_frame_is_no_error() -> None:
    assert of_frames(np.array([2.0]), np.array([5.0]), "median") == (3.0, 3.0)
