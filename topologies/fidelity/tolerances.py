"""Tolerances of a link's claims, and the number of measurements, on either clock.

On the real clock a busy machine spoils single measurements, so each is made again, a few times,
while it is outside its tolerance. On the virtual clock nothing outside the emulation can disturb
it: every claim is measured once, and what is left is the emulation's own inexactness.
"""

from dataclasses import asdict, dataclass

from stage_node.records.vocabulary import ClockKind


@dataclass(frozen=True)
class Tolerances:
    """Allowed distances from what is expected.

    ``rtt_share`` is of the expected round trip and adds to ``rtt_ms``; ``attempts`` is how often
    a rate or a round trip is measured at most.
    """

    rate_share: float
    rtt_ms: float
    rtt_share: float
    attempts: int


@dataclass(frozen=True)
class SaturatedTolerances(Tolerances):
    """Tolerances of a link that is also saturated and lossy: its queue, and how many batches of
    datagrams may tell the loss."""

    queue_share: float
    queue_attempts: int
    loss_batches: int


EXACT = Tolerances(rate_share=0.0001, rtt_ms=0.002, rtt_share=0.0, attempts=1)

PROBE: dict[ClockKind, Tolerances] = {
    "virtual": EXACT,
    "real": Tolerances(rate_share=0.01, rtt_ms=0.5, rtt_share=0.01, attempts=5),
}
"""Of the probe before every run."""

EXAMINATION: dict[ClockKind, SaturatedTolerances] = {
    "virtual": SaturatedTolerances(
        **asdict(EXACT), queue_share=0.03, queue_attempts=1, loss_batches=1
    ),
    "real": SaturatedTolerances(
        rate_share=0.005,
        rtt_ms=0.5,
        rtt_share=0.005,
        attempts=5,
        queue_share=0.10,
        queue_attempts=3,
        loss_batches=2,
    ),
}
"""Of ``concertina fidelity``."""
