"""Estimates a connection's rate from frames that were sent anyway.

Rates come from transfers: a frame's bytes over the time its receiver waited for them (ledger), or
the kernel's delivery rate (``TCP_INFO``), or what a frame's lateness allows at most. An average
that follows falls at once and rises slowly errs on the side of the bound; its mean deviation says
how far to trust it (as RFC 6298 does with round trips).
"""

import math
from dataclasses import dataclass

RECOVERY = 1.1
"""What an estimate grows by per decision without a measurement: it doubles in seven."""
DEVIATION_WEIGHT = 0.1
CAUTION = 0.5
"""Mean deviations below the average a rate is expected at worst."""
FIRST_DEVIATION = 0.3


@dataclass(frozen=True)
class RateEstimate:
    """A rate in Mbit/s, ``None`` before the first sample, and how far samples lie from it: the mean
    of the logarithms of their ratio, whatever its sign."""

    rate_mbit: float | None = None
    deviation: float = FIRST_DEVIATION

    def after(
        self, sample_mbit: float, rising: float = 0.5, falling: float = 0.8
    ) -> "RateEstimate":
        """The estimate with one more sample; the weights are for a new sample above and
        below the estimate."""
        if self.rate_mbit is None:
            return RateEstimate(sample_mbit)
        off_mbit = sample_mbit - self.rate_mbit
        off = abs(math.log(sample_mbit / self.rate_mbit))
        return RateEstimate(
            self.rate_mbit + (rising if off_mbit > 0 else falling) * off_mbit,
            self.deviation + DEVIATION_WEIGHT * (off - self.deviation),
        )

    def unmeasured(self, at_least_mbit: float, enough_mbit: float) -> "RateEstimate":
        """The estimate after frames too short to tell a rate that came in time: nothing speaks
        against a link that slowly recovers until it is fast ``enough`` for anything, and it gives
        at least what their latency allows."""
        if self.rate_mbit is None or self.rate_mbit > enough_mbit:
            return self
        recovered_mbit = min(self.rate_mbit * RECOVERY, enough_mbit)
        return RateEstimate(max(recovered_mbit, at_least_mbit), self.deviation)

    @property
    def cautious_mbit(self) -> float:
        """Rate to count on, Mbit/s."""
        return (self.rate_mbit or 0.0) * math.exp(-CAUTION * self.deviation)
