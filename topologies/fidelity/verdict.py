"""Does the network hold what its profiles promise? The measurements and the verdict; pure.

Goodput and minimum round trip have to be within :mod:`topologies.fidelity.tolerances`, the
configured loss inside the 99.9 % interval of the measured one, captures complete. On the real clock
a second with less than 35 % idle CPU is a warning (Handigol et al., "Reproducible network
experiments using container-based emulation", CoNEXT 2012), and so is more than 3 % of pauses: a
quiet machine showed 1.0 and 1.6 %, one busy loop on the guest's CPU 7.1 %, and downloads then took
1.3 points longer. On the virtual clock neither says anything: it stands still while anybody
computes or waits for a CPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stage_node.records.captures import CaptureCounters
from stage_node.records.fidelity import (
    CpuIdle,
    FidelityRecord,
    GoodputRecord,
    LossRecord,
    Pauses,
    QdiscCounters,
    ReplayLateness,
    RttRecord,
)
from stage_node.records.vocabulary import ClockKind, Direction, Verdict
from topologies.emulation.capture_counters import total
from topologies.emulation.capture_counters import verdict as capture_verdict
from topologies.fidelity.loss_interval import loss_interval
from topologies.machine.cpu import IdleSample
from topologies.machine.pauses import Paused

LATE_MS = 20.0  # a fifth of a trace's usual step
IDLE_THRESHOLD = 0.35
PAUSED_SHARE = 0.03
LOSS_CONFIDENCE = 0.999


@dataclass(frozen=True)
class GoodputProbe:
    """TCP payload rate of one direction over ``duration_s`` of its steady part.

    ``goodput_mbit`` is ``None`` where the profile has loss or jitter: what TCP then reaches is
    not the line's rate. It is measured again while it is outside the tolerance, a few times: the
    figures are always of the last attempt, ``attempt_errors`` holds every attempt's error in
    order. ``longest_pause_ms`` is the longest time for which the probe itself was not served:
    beyond what the queue covers, it is the machine that fell short.
    """

    link: str
    direction: Direction
    ideal_goodput_mbit: float
    goodput_mbit: float | None
    tolerance_share: float
    duration_s: float = 0.0
    longest_pause_ms: float = 0.0
    attempt_errors: tuple[float, ...] = ()

    @property
    def goodput_error(self) -> float | None:
        """Share of the ideal; negative where the goodput falls short."""
        if self.goodput_mbit is None:
            return None
        return self.goodput_mbit / self.ideal_goodput_mbit - 1

    @property
    def ok(self) -> bool:
        """Within the tolerance, or not to be checked."""
        return self.goodput_error is None or abs(self.goodput_error) <= self.tolerance_share

    def record(self) -> GoodputRecord:
        """Return it as ``fidelity.json`` has it."""
        return GoodputRecord(
            link=self.link,
            direction=self.direction,
            ideal_goodput_mbit=self.ideal_goodput_mbit,
            goodput_mbit=self.goodput_mbit,
            tolerance_share=self.tolerance_share,
            duration_s=self.duration_s,
            longest_pause_ms=self.longest_pause_ms,
            attempt_errors=self.attempt_errors,
            goodput_error=self.goodput_error,
            ok=self.ok,
        )


@dataclass(frozen=True)
class RttProbe:
    """Shortest of ``received`` ICMP echoes on the idle link; ``None`` if none came back.

    The echoes are sent in ``rounds``, more than one only while the shortest is outside the
    tolerance. ``tolerance_ms`` is the allowed distance from ``expected_ms``; ``early_ms`` is by how
    much jitter may bring an echo back before its time.
    """

    link: str
    rounds: int
    sent: int
    received: int
    rtt_min_ms: float | None
    expected_ms: float
    tolerance_ms: float
    early_ms: float = 0.0

    @property
    def ok(self) -> bool:
        """Within the tolerance."""
        if self.rtt_min_ms is None:
            return False
        excess_ms = self.rtt_min_ms - self.expected_ms
        return -self.tolerance_ms - self.early_ms <= excess_ms <= self.tolerance_ms

    def record(self) -> RttRecord:
        """Return it as ``fidelity.json`` has it."""
        return RttRecord(
            link=self.link,
            rounds=self.rounds,
            sent=self.sent,
            received=self.received,
            rtt_min_ms=self.rtt_min_ms,
            expected_ms=self.expected_ms,
            tolerance_ms=self.tolerance_ms,
            early_ms=self.early_ms,
            ok=self.ok,
        )


@dataclass(frozen=True)
class LossProbe:
    """Datagrams of one direction that did not arrive, where the profile has loss."""

    link: str
    direction: Direction
    sent: int
    lost: int
    configured_percent: float

    @property
    def interval_percent(self) -> tuple[float, float]:
        """Wilson's 99.9 % interval for the true loss."""
        low, high = loss_interval(self.lost, self.sent, LOSS_CONFIDENCE, "wilson")
        return 100 * low, 100 * high

    @property
    def ok(self) -> bool:
        """The configured loss could have produced the measured one."""
        low, high = self.interval_percent
        return low <= self.configured_percent <= high

    def record(self) -> LossRecord:
        """Return it as ``fidelity.json`` has it."""
        return LossRecord(
            link=self.link,
            direction=self.direction,
            sent=self.sent,
            lost=self.lost,
            configured_percent=self.configured_percent,
            interval_percent=self.interval_percent,
            ok=self.ok,
        )


@dataclass(frozen=True)
class Probe:
    """All measurements before a run."""

    goodput: tuple[GoodputProbe, ...]
    rtt: tuple[RttProbe, ...]
    loss: tuple[LossProbe, ...]


@dataclass(frozen=True)
class Fidelity:
    """The verdict with its reasons and everything it rests on."""

    verdict: Verdict
    reasons: tuple[str, ...]
    probe: Probe
    captures: tuple[CaptureCounters, ...]
    qdiscs: tuple[QdiscCounters, ...]
    idle: tuple[IdleSample, ...]
    paused: Paused | None
    late_ms: tuple[float, ...] = ()
    clock: ClockKind = "real"

    def record(self) -> FidelityRecord:
        """Return the content of ``fidelity.json``; every share is in 0..1."""
        shares = [sample.idle_share for sample in self.idle]
        return FidelityRecord(
            clock=self.clock,
            verdict=self.verdict,
            reasons=self.reasons,
            links=tuple(each.record() for each in self.probe.goodput),
            rtt=tuple(each.record() for each in self.probe.rtt),
            loss=tuple(each.record() for each in self.probe.loss),
            replay=ReplayLateness(
                changes=len(self.late_ms),
                late_ms_p95=late_p95(self.late_ms),
                late_ms_max=max(self.late_ms, default=None),
            ),
            captures=total(self.captures),
            qdisc=self.qdiscs,
            cpu_idle=CpuIdle(
                per_second_min_share=min(shares, default=None),
                share=sum(shares) / len(shares) if shares else None,
                seconds=len(shares),
                seconds_below=sum(share < IDLE_THRESHOLD for share in shares),
                threshold=IDLE_THRESHOLD,
            ),
            pauses=self.paused
            and Pauses(
                windows_ms=self.paused.windows_ms,
                paused_ms=self.paused.paused_ms,
                longest_ms=self.paused.longest_ms,
                share=self.paused.share,
            ),
        )


def judge(
    probe: Probe,
    captures: Sequence[CaptureCounters] = (),
    qdiscs: Sequence[QdiscCounters] = (),
    idle: Sequence[IdleSample] = (),
    paused: Paused | None = None,
    late_ms: Sequence[float] = (),
    clock: ClockKind = "real",
) -> Fidelity:
    """Weigh the measurements; ``idle`` and ``paused`` are of network-bound windows only, and are
    not there on the virtual clock, which stands still while anything of the emulation has to wait.

    Of a link with a trace the probe has measured what it is before the trace is played; how it was
    played is judged by ``late_ms`` of every change.
    """
    failures = [*_probe_failures(probe), *capture_verdict(captures)]
    warnings = _probe_warnings(probe)
    busy = [sample for sample in idle if sample.idle_share < IDLE_THRESHOLD]
    if busy:
        lowest = min(sample.idle_share for sample in busy)
        warnings.append(
            f"CPU: {len(busy)} of {len(idle)} network-bound seconds had less than "
            f"{IDLE_THRESHOLD:.0%} idle time (lowest {lowest:.0%}); timing may be the CPU's"
        )
    if clock == "real":
        warnings += _pause_warnings(paused)
    late = late_p95(late_ms)
    if late is not None and late > LATE_MS:
        count = sum(each >= late for each in late_ms)
        warnings.append(
            f"replay: {count} of {len(late_ms)} changes of links came {late:.0f} ms late or more "
            f"(the latest {max(late_ms):.0f} ms)"
        )
    if clock == "real" and not idle:
        warnings.append("CPU idle was not judged: no network-bound window")
    verdict: Verdict = "fail" if failures else "warn" if warnings else "pass"
    return Fidelity(
        verdict=verdict,
        reasons=(*failures, *warnings),
        probe=probe,
        captures=tuple(captures),
        qdiscs=tuple(qdiscs),
        idle=tuple(idle),
        paused=paused,
        late_ms=tuple(late_ms),
        clock=clock,
    )


def late_p95(late_ms: Sequence[float]) -> float | None:
    """95th percentile of the changes' lateness, ms; None without changes."""
    ordered = sorted(late_ms)
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))] if ordered else None


def _pause_warnings(paused: Paused | None) -> list[str]:
    if paused is None:
        return [
            "pauses were not judged: the process that looks for them, at real-time priority, did "
            "not run to the end"
        ]
    if paused.share is None or paused.share <= PAUSED_SHARE:
        return []
    return [
        f"pauses: for {paused.share:.1%} of {paused.windows_ms / 1e3:.1f} network-bound seconds "
        f"nothing of the emulation ran (longest {paused.longest_ms:.0f} ms), as when the machine "
        "has other work; times are not the network's alone"
    ]


def _probe_failures(probe: Probe) -> list[str]:
    reasons = []
    for goodput in probe.goodput:
        if not goodput.ok and goodput.goodput_error is not None:
            reasons.append(
                f"link {goodput.link} {goodput.direction}: goodput {goodput.goodput_mbit:.4g} "
                f"Mbit/s is {goodput.goodput_error:+.4%} from the ideal "
                f"{goodput.ideal_goodput_mbit:.4g} at the last of {len(goodput.attempt_errors)} "
                f"attempts; longest pause {goodput.longest_pause_ms:.0f} ms"
            )
    for rtt in probe.rtt:
        if rtt.rtt_min_ms is None:
            reasons.append(f"link {rtt.link}: none of {rtt.sent} echoes came back")
        elif not rtt.ok:
            reasons.append(
                f"link {rtt.link}: shortest round trip {rtt.rtt_min_ms:.3f} ms, expected "
                f"{rtt.expected_ms:.3f} ± {rtt.tolerance_ms:.3f} ms"
            )
    for loss in probe.loss:
        if not loss.ok:
            low, high = loss.interval_percent
            reasons.append(
                f"link {loss.link} {loss.direction}: {loss.lost} of {loss.sent} frames lost, so "
                f"{low:.2g} to {high:.2g} %, configured {loss.configured_percent:g} %"
            )
    return reasons


def _probe_warnings(probe: Probe) -> list[str]:
    return [
        f"link {each.link} {each.direction}: goodput needed {len(each.attempt_errors)} attempts, "
        "the machine was busy or the link is at its limit"
        for each in probe.goodput
        if each.ok and len(each.attempt_errors) > 1
    ]
