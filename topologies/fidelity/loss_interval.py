"""Confidence interval of the true loss of a direction, from datagrams sent and lost; pure."""

from typing import Literal

Method = Literal["exact", "wilson"]


def loss_interval(lost: int, sent: int, confidence: float, method: Method) -> tuple[float, float]:
    """Compute the two-sided interval of the true loss, a share; ``(0, 1)`` if nothing was sent.

    ``exact``: C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits
    illustrated in the case of the binomial", Biometrika 26, 1934. ``wilson``: E. B. Wilson,
    "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
    """
    if sent == 0:
        return 0.0, 1.0
    from scipy.stats import binomtest  # takes seconds to import; few runs have loss

    interval = binomtest(lost, sent).proportion_ci(confidence, method=method)
    return float(interval.low), float(interval.high)
