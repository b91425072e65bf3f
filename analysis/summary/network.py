"""Part of ``summary.json``: the network's fidelity, and its links' traffic."""

from pydantic import Field

from analysis.summary.section import SummarySection
from stage_node.records.vocabulary import ClockKind, Direction, SummaryVerdict


class FidelitySummary(SummarySection):
    """Fidelity of the emulated network to its claims."""

    verdict: SummaryVerdict = Field(description="`unknown`: the run ended before it was judged")
    clock: ClockKind = Field(
        "real",
        description="whose time the emulation kept: `virtual` stands still while anything of the "
        "emulation computes, so nothing else on the machine touches a figure",
    )
    reasons: tuple[str, ...] = Field(description="why not `pass`, one line each")
    goodput_error_max: float | None = Field(
        description="largest deviation of a link's probed TCP goodput from the ideal that its "
        "configuration gives, as a share"
    )
    rtt_error_ms_max: float | None = Field(
        description="largest deviation of a link's probed minimum round-trip time from the ideal "
        "that its configuration gives"
    )
    capture_dropped_packets: int | None = Field(description="packets that tcpdump lost, all links")
    qdisc_difference_max: float | None = Field(
        description="largest absolute `qdisc_difference` of any link and direction; above 0.01 the "
        "captures do not account for the traffic: a problem, and exit status 1"
    )
    cpu_idle_min_share: float | None = Field(
        description="smallest share of idle CPU in any of the sampled seconds"
    )
    cpu_idle_seconds: int | None = Field(
        description="how many sampled seconds lay at least half in a measured window or a "
        "download; 0: the CPU was not judged"
    )
    paused_share: float | None = Field(
        None,
        description="share of the measured windows and downloads in which nothing of the "
        "emulation ran, not even at real-time priority, for 1 ms and more: to a microVM, other "
        "work of the machine; null: not judged",
    )
    paused_ms_longest: float | None = Field(None, description="the longest of these pauses")


class LinkTraffic(SummarySection):
    """One direction of one link over the whole capture."""

    link: str = Field(description="name of the link")
    direction: Direction = Field(description="along or against the link as it is declared")
    source: str = Field(description="node that sends in this direction")
    target: str = Field(description="node that receives in this direction")
    profile: str | None = Field(description="name of the link profile that shaped it")
    probed_goodput_mbit: float | None = Field(
        description="TCP goodput that the probe measured before the run"
    )
    probed_capacity_mbit: float | None = Field(
        description="the same with headers: goodput times wire bytes / payload bytes of the "
        "largest data packet in the receiver's capture"
    )
    probe_attempts: int | None = Field(
        description="how often the probe measured the goodput; the last measurement counts"
    )
    probed_rtt_ms: float | None = Field(description="minimum round-trip time the probe measured")
    sent_packets: int = Field(description="packets in the sender's capture, before the queue")
    sent_wire_bytes: int = Field(description="their bytes, Ethernet header included")
    received_packets: int = Field(description="packets in the receiver's capture")
    received_wire_bytes: int = Field(description="their bytes, Ethernet header included")
    lost_packets: int = Field(description="sent less received: random loss and full queue")
    peak_mbit: float | None = Field(
        description="highest throughput at the receiver in any bin of the throughput plot"
    )
    qdisc_sent_bytes: int | None = Field(description="bytes that the queueing discipline sent")
    qdisc_dropped_packets: int | None = Field(description="packets that it dropped")
    qdisc_difference: float | None = Field(
        description="(received - sent by qdisc) / sent by qdisc: how well capture and kernel agree"
    )


class LinkReplay(SummarySection):
    """Replay of one direction's trace (events; what the kernel confirmed)."""

    link: str = Field(description="name of the link")
    direction: Direction = Field(description="along or against the link as it is declared")
    changes: int = Field(description="changes applied")
    late_ms_median: float = Field(description="median delay of a change behind its time")
    late_ms_p95: float = Field(description="95 % were less late")
    late_ms_max: float = Field(description="the latest")
    rate_mbit_min: float = Field(description="lowest rate applied")
    rate_mbit_max: float = Field(description="highest rate applied")
