"""What a connection gives, learned from frames that were sent anyway.

Rates come from transfers: a frame's bytes over the time its receiver waited for them (ledger), or
the kernel's delivery rate (``TCP_INFO``). An average that follows falls at once and rises slowly
errs on the side of the bound.
"""

from dataclasses import dataclass

RECOVERY = 1.15
"""What an estimate grows by per decision without a measurement: it doubles in five."""


@dataclass(frozen=True)
class RateEstimate:
    """A rate in Mbit/s; ``None`` before the first sample."""

    rate_mbit: float | None = None

    def after(
        self, sample_mbit: float, rising: float = 0.3, falling: float = 0.8
    ) -> "RateEstimate":
        """The estimate with one more sample; the weights are those of a new sample above and
        below the estimate."""
        if self.rate_mbit is None:
            return RateEstimate(sample_mbit)
        weight = rising if sample_mbit > self.rate_mbit else falling
        return RateEstimate(self.rate_mbit + weight * (sample_mbit - self.rate_mbit))

    def unmeasured(self, kept_bound: bool) -> "RateEstimate":
        """The estimate after frames too short to tell a rate: nothing speaks against a link that
        slowly recovers while the bound is kept, and everything does when it is not."""
        if self.rate_mbit is None:
            return self
        return RateEstimate(self.rate_mbit * (RECOVERY if kept_bound else 1 / 2))
