"""Exact confidence intervals of a binomial share; pure."""

import math

BISECTIONS = 60


def exact_interval(events: int, trials: int, confidence: float) -> tuple[float, float]:
    """The interval of Clopper and Pearson (Biometrika 26, 1934) for the true share.

    ``(0, 1)`` without trials. At its ends this number of events or more, or this number or
    fewer, has half of ``1 - confidence`` as its probability.
    """
    if not 0 <= events <= trials:
        raise ValueError(f"{events} events in {trials} trials")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    if trials == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = _share_with(events - 1, trials, 1 - tail) if events else 0.0
    high = _share_with(events, trials, tail) if events < trials else 1.0
    return low, high


def _share_with(events: int, trials: int, probability: float) -> float:
    """The share at which at most ``events`` have this probability, which falls with the share."""
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if _at_most(events, trials, middle) > probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _at_most(events: int, trials: int, share: float) -> float:
    """Probability of at most ``events``."""
    yes, no = math.log(share), math.log1p(-share)
    return math.fsum(
        math.exp(
            math.lgamma(trials + 1)
            - math.lgamma(count + 1)
            - math.lgamma(trials - count + 1)
            + count * yes
            + (trials - count) * no
        )
        for count in range(events + 1)
    )
