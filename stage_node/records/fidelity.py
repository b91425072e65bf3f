"""``fidelity.json``: what the probe measured of every link, and the verdict on the network."""

from pydantic import Field

from stage_node.records.captures import CaptureTotals
from stage_node.records.record import RunFile, RunFilePart
from stage_node.records.vocabulary import ClockKind, Direction, SummaryVerdict


class GoodputRecord(RunFilePart):
    """TCP payload rate of one direction of a link, Mbit/s, as the probe measured it.

    ``goodput_mbit`` is None if the profile has loss or jitter: TCP then does not reach the line's
    rate. ``goodput_error`` is a share of the ideal. ``attempt_errors`` has an entry per attempt,
    the figures are of the last. ``longest_pause_ms``: longest time for which it was not served.
    """

    link: str
    direction: Direction
    ideal_goodput_mbit: float
    goodput_mbit: float | None
    tolerance_share: float | None = None  # None: older than tolerances by clock
    duration_s: float
    longest_pause_ms: float | None = None  # None: older than the look for pauses
    attempt_errors: tuple[float, ...] | None = None  # None: older, when attempts were only counted
    goodput_error: float | None
    ok: bool

    @property
    def attempts(self) -> int | None:
        """Number of measurements; None if the record does not tell."""
        return None if self.attempt_errors is None else len(self.attempt_errors)


class RttRecord(RunFilePart):
    """Shortest ICMP echo on an idle link, ms; ``rtt_min_ms`` is None if none came back."""

    link: str
    rounds: int | None = None  # None: older, when there was one
    sent: int
    received: int
    rtt_min_ms: float | None
    expected_ms: float
    tolerance_ms: float
    early_ms: float
    ok: bool


class LossRecord(RunFilePart):
    """Datagrams of one direction of a lossy link that did not arrive, and the interval, %."""

    link: str
    direction: Direction
    sent: int
    lost: int
    configured_percent: float
    interval_percent: tuple[float, float]
    ok: bool


class QdiscCounters(RunFilePart):
    """The kernel's counters for one direction of a link during the run.

    ``sent_*`` are whole frames that left the line, ``dropped_packets`` frames for which the buffer
    had no room, ``lost_packets`` frames lost at random as the profile says.
    """

    link: str
    direction: Direction
    sent_packets: int
    sent_bytes: int
    dropped_packets: int
    lost_packets: int


class ReplayLateness(RunFilePart):
    """Lateness of the changes of links that a trace asked for, ms; None without changes."""

    changes: int
    late_ms_p95: float | None
    late_ms_max: float | None


class CpuIdle(RunFilePart):
    """Idle CPU while the network was to set the pace, a share (0..1) per sampled second."""

    per_second_min_share: float | None
    share: float | None
    seconds: int
    seconds_below: int
    threshold: float


class Pauses(RunFilePart):
    """Time of ``windows_ms``, in which the network was to set the pace, when nothing ran, ms."""

    windows_ms: float
    paused_ms: float
    longest_ms: float
    share: float | None


class FidelityRecord(RunFile):
    """The verdict with its reasons and all that it rests on; every share is in 0..1.

    Everything measured is optional: a run that ended before it was judged has a record of none.
    """

    clock: ClockKind = "real"  # older runs knew no other
    verdict: SummaryVerdict
    reasons: tuple[str, ...] = ()
    links: tuple[GoodputRecord, ...] = ()
    rtt: tuple[RttRecord, ...] = ()
    loss: tuple[LossRecord, ...] = ()
    replay: ReplayLateness | None = None  # None: older than traces
    captures: CaptureTotals | None = None
    qdisc: tuple[QdiscCounters, ...] = ()
    cpu_idle: CpuIdle | None = None
    pauses: Pauses | None = Field(default=None, description="None: not watched")

    def goodput_mbit(self, link: str, direction: Direction) -> float | None:
        """Measured TCP goodput of one direction of a link, Mbit/s."""
        probe = self._goodput(link, direction)
        return probe.goodput_mbit if probe else None

    def attempts(self, link: str, direction: Direction) -> int | None:
        """Number of measurements of the goodput of one direction of a link."""
        probe = self._goodput(link, direction)
        return probe.attempts if probe else None

    def rtt_ms(self, link: str) -> float | None:
        """Measured minimum round-trip time of a link, ms."""
        return next((probe.rtt_min_ms for probe in self.rtt if probe.link == link), None)

    def counters(self, link: str, direction: Direction) -> QdiscCounters | None:
        """The kernel's counters of one direction of a link."""
        return next((q for q in self.qdisc if (q.link, q.direction) == (link, direction)), None)

    def _goodput(self, link: str, direction: Direction) -> GoodputRecord | None:
        return next((p for p in self.links if (p.link, p.direction) == (link, direction)), None)
