"""Confidence intervals of differences, 95 %: of means, of statistics of frames, of shares."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, variance
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, ttest_ind

CONFIDENCE = 0.95
DRAWS = 2000
SEED = 20250821

Interval = tuple[float, float]
Floats = npt.NDArray[np.float64]


def welch(first: Sequence[float], other: Sequence[float]) -> Interval:
    """Interval of mean(other) - mean(first), two or more values each.

    B. L. Welch, "The generalization of Student's problem when several different population
    variances are involved", Biometrika 34, 1947.
    """
    if not variance(first) + variance(other):
        difference = fmean(other) - fmean(first)
        return difference, difference
    interval = ttest_ind(other, first, equal_var=False).confidence_interval(CONFIDENCE)
    return float(interval.low), float(interval.high)


def of_frames(first: Floats, other: Floats, reduce: Literal["median", "mean"]) -> Interval:
    """Interval of the difference of medians or means of two sequences of frames.

    Moving-block bootstrap (H. R. Künsch, "The jackknife and the bootstrap for general stationary
    observations", Annals of Statistics 17, 1989): frames that are in flight together are not
    independent, so blocks of sqrt(n) consecutive ones are drawn; percentiles of ``DRAWS`` draws,
    the same ones every time.
    """
    random = np.random.default_rng(SEED)
    drawn = _drawn(other, reduce, random) - _drawn(first, reduce, random)
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def of_shares(first: float, first_count: int, other: float, other_count: int) -> Interval:
    """Interval of other - first, each a share (0 to 1) of a count.

    Newcombe's hybrid score interval: R. G. Newcombe, "Interval estimation for the difference
    between independent proportions: comparison of eleven methods", Statistics in Medicine 17,
    1998, method 10.
    """
    low_1, high_1 = _wilson(first, first_count)
    low_2, high_2 = _wilson(other, other_count)
    difference = other - first
    below = sqrt((other - low_2) ** 2 + (high_1 - first) ** 2)
    above = sqrt((high_2 - other) ** 2 + (first - low_1) ** 2)
    return difference - below, difference + above


def _drawn(values: Floats, reduce: str, random: np.random.Generator) -> Floats:
    length = max(1, round(sqrt(len(values))))
    starts = random.integers(0, len(values) - length + 1, (DRAWS, -(-len(values) // length)))
    indexes = (starts[:, :, None] + np.arange(length)).reshape(DRAWS, -1)[:, : len(values)]
    drawn: Floats = (np.median if reduce == "median" else np.mean)(values[indexes], axis=1)
    return drawn


def _wilson(share: float, count: int) -> Interval:
    """E. B. Wilson's score interval, Journal of the American Statistical Association 22, 1927.

    By hand: images that were served in several passes make no whole number of right answers, which
    is all that ``scipy.stats.binomtest`` takes.
    """
    z = float(norm.ppf((1 + CONFIDENCE) / 2))
    middle = share + z**2 / (2 * count)
    half = z * sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return (middle - half) / (1 + z**2 / count), (middle + half) / (1 + z**2 / count)
