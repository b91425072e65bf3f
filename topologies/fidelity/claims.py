"""Claims of a profile, measurements of it by independent tools, and the verdict; pure.

Four claims: the rate, as goodput of both directions; the shortest round trip; the share of frames
lost, in its exact binomial interval; the queue, which is the delay that a saturated direction adds.
The measurements come from :mod:`topologies.fidelity.profile_check`.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

from stage_node.records.vocabulary import ClockKind
from topologies.fidelity.loss_interval import loss_interval
from topologies.links.profiles import LinkProfile

LOSS_CONFIDENCE = 0.99
HEADROOM = 1.25  # what a host must carry, in goodputs of a link, before a shortfall is the link's

Way = Literal["down", "up"]
Verdict = Literal["pass", "fail", "not measurable"]


class ReportPart(BaseModel):
    """Part of the report; frozen. Readers pass over what they do not know."""

    model_config = ConfigDict(frozen=True)


class SaturationClaim(ReportPart):
    """Rate or queue of one direction that iperf3 keeps busy.

    ``expected`` and ``attempts`` are Mbit/s of payload for the rate, milliseconds for the queue;
    ``configured`` is the line rate (Mbit/s) or the buffer (bytes). It is measured again while it
    is outside the tolerance, a few times; the last attempt counts. ``carried_mbit`` is what the
    host carries over the same link when that limits nothing, measured only where it may be the
    reason: without headroom above ``needed_mbit``, this goodput, the host is the limit, and not the
    link.
    """

    what: Literal["rate", "queue"]
    way: Way
    tool: Literal["TCP", "UDP"]
    configured: float
    expected: float
    tolerance_share: float
    needed_mbit: float
    attempts: tuple[float, ...] = Field(min_length=1)
    carried_mbit: float | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def measured(self) -> float:
        """The last attempt."""
        return self.attempts[-1]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def error_share(self) -> float:
        """Distance from what was expected; negative where it falls short."""
        return self.measured / self.expected - 1

    @property
    def ok(self) -> bool:
        """Within the tolerance."""
        return abs(self.error_share) <= self.tolerance_share

    @property
    def is_beyond_host(self) -> bool:
        """The host does not carry what the link does."""
        return self.carried_mbit is not None and self.carried_mbit < HEADROOM * self.needed_mbit

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Verdict:
        """A host that cannot saturate a line has no full queue to show, and a rate that falls short
        there says nothing about the link; but it makes no line faster."""
        if self.is_beyond_host and (self.what == "queue" or (self.error_share < 0 and not self.ok)):
            return "not measurable"
        return "pass" if self.ok else "fail"


class RttClaim(ReportPart):
    """Shortest of ``received`` echoes of ``ping`` on the idle link, ``None`` without one.

    ``expected_ms`` is two delays and the serialisation of an echo each way, ``tolerance_ms`` the
    allowed distance from it; ``early_ms`` is by how much jitter may bring one back before its time.
    """

    sent: int
    received: int
    expected_ms: float
    measured_ms: float | None
    tolerance_ms: float
    early_ms: float = 0.0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def error_ms(self) -> float | None:
        """Measured less expected."""
        return None if self.measured_ms is None else self.measured_ms - self.expected_ms

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Verdict:
        """No echo at all is a failure."""
        if self.error_ms is None:
            return "fail"
        early = -self.tolerance_ms - self.early_ms
        return "pass" if early <= self.error_ms <= self.tolerance_ms else "fail"


class LossClaim(ReportPart):
    """Datagrams of iperf3 in one direction, below the line rate, that did not arrive.

    On the real clock, where the configured loss was outside the interval, a second batch has been
    added to the first: every datagram counts (``batches``).
    """

    way: Way
    configured_percent: float
    sent: int
    lost: int
    batches: int = 1

    @computed_field  # type: ignore[prop-decorator]
    @property
    def interval_percent(self) -> tuple[float, float]:
        """The exact 99 % interval of the true loss (Clopper-Pearson)."""
        low, high = loss_interval(self.lost, self.sent, LOSS_CONFIDENCE, "exact")
        return 100 * low, 100 * high

    @computed_field  # type: ignore[prop-decorator]
    @property
    def measured_percent(self) -> float:
        """Lost of a hundred."""
        return 100 * self.lost / self.sent if self.sent else 100.0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Verdict:
        """The configured loss could have produced the measured one."""
        low, high = self.interval_percent
        return "pass" if self.sent and low <= self.configured_percent <= high else "fail"


class ProfileFidelity(ReportPart):
    """One profile: as configured, claim by claim, and why it could not be measured if so."""

    profile: LinkProfile
    rates: tuple[SaturationClaim, ...] = ()
    rtt: RttClaim | None = None
    losses: tuple[LossClaim, ...] = ()
    queues: tuple[SaturationClaim, ...] = ()
    duration_s: float = 0.0
    failure: str | None = None

    @property
    def claims(self) -> "tuple[SaturationClaim | RttClaim | LossClaim, ...]":
        """All of them in the order in which they are shown."""
        return (*self.rates, *([self.rtt] if self.rtt else []), *self.losses, *self.queues)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Verdict:
        """The worst of its claims'; a measurement that broke off is a failure."""
        verdicts = {claim.verdict for claim in self.claims}
        if self.failure is not None or "fail" in verdicts or not verdicts:
            return "fail"
        return "not measurable" if "not measurable" in verdicts else "pass"


class FidelityReport(ReportPart):
    """Everything that ``concertina fidelity`` found; the content of its ``fidelity.json``."""

    schema_version: Literal[1] = 1
    host: str
    clock: ClockKind = "real"
    started: str
    code: dict[str, str | bool | None] = {}
    profiles: tuple[ProfileFidelity, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Verdict:
        """``fail`` where a profile is not what it claims."""
        verdicts = {each.verdict for each in self.profiles}
        if "fail" in verdicts:
            return "fail"
        return "not measurable" if "not measurable" in verdicts else "pass"
