"""``summary.json``: the figures of a run, typed and documented field by field.

``docs/summary.md`` is generated from these models: ``python -m analysis.document``.
Times and bytes come from the captures and the ledger, rates from the probe; only the deviations
in ``Fidelity`` compare with the configuration. A figure that could not be measured is ``null``.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from stage_node.events import LONE_PIPELINE

SCHEMA_VERSION: Literal[2] = 2

Direction = Literal["a_to_b", "b_to_a"]


class Section(BaseModel):
    """A part of the summary."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Distribution(Section):
    """Summary of many times of one kind."""

    count: int = Field(description="number of values")
    min_ms: float = Field(description="smallest")
    mean_ms: float = Field(description="arithmetic mean")
    median_ms: float = Field(description="half of the values are smaller")
    p95_ms: float = Field(description="95 % of the values are smaller")
    p99_ms: float = Field(description="99 % of the values are smaller")
    max_ms: float = Field(description="largest")

    @classmethod
    def of_ns(cls, values_ns: npt.NDArray[np.int64]) -> "Distribution | None":
        """Of times in nanoseconds; None of none."""
        if not len(values_ns):
            return None
        values = np.asarray(values_ns) / 1e6
        median, p95, p99 = np.percentile(values, [50, 95, 99])
        return cls(
            count=len(values),
            min_ms=values.min(),
            mean_ms=values.mean(),
            median_ms=median,
            p95_ms=p95,
            p99_ms=p99,
            max_ms=values.max(),
        )


class Fidelity(Section):
    """Whether the emulated network was what it claimed to be."""

    verdict: Literal["pass", "warn", "fail", "unknown"] = Field(
        description="`unknown`: the run ended before it was judged"
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
        description="share of the measured windows and downloads for which other work on the "
        "machine, another guest's or the hypervisor's, kept the emulation waiting, pauses of 1 ms "
        "and more; null: not judged",
    )
    paused_ms_longest: float | None = Field(None, description="the longest of these pauses")


class LinkTraffic(Section):
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
        description="how often the probe measured the goodput; the measurement nearest to the "
        "ideal counts"
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


class Accuracy(Section):
    """An accuracy and where it came from."""

    value: float = Field(description="share of the images classified correctly, 0 to 1")
    images: int = Field(description="number of images it was measured on")
    split: str = Field(description="part of the data set: `train`, `validation` or `test`")


class CutTraffic(Section):
    """One connection between two stages, during one window; per inference: per image."""

    cut: int = Field(description="index of the cut: between stage `cut` and stage `cut` + 1")
    source: str = Field(description="host of the sending stage")
    target: str = Field(description="host of the receiving stage")
    links: tuple[str, ...] = Field(description="links that the connection crosses")
    frames: int = Field(description="activation frames of the window")
    inferences: int = Field(description="images in those frames")
    payload_bytes: float = Field(description="activation bytes per inference, as encoded")
    frame_bytes: float = Field(description="the same with the frame headers")
    wire_bytes: float = Field(
        description="bytes per inference on the wire, sender's capture: frames with TCP, IP and "
        "Ethernet headers and retransmissions. W and P of Eq. 1"
    )
    ack_wire_bytes: float = Field(
        description="bytes per inference of the packets that travelled the other way meanwhile"
    )
    retransmitted_bytes: int = Field(description="payload bytes sent again, whole window")
    wait: Distribution | None = Field(
        description="from handed to the sender (ledger) to first byte out (sender's capture)"
    )
    transfer: Distribution | None = Field(
        description="from first byte out (sender's capture) to last byte delivered (receiver's "
        "capture). Its median is T and L of Eq. 2"
    )
    hop: Distribution | None = Field(description="wait and transfer together")


class StageCompute(Section):
    """What one stage's computing took per frame, during one window."""

    host: str = Field(description="host of the stage")
    time: Distribution = Field(description="compute time of a frame (ledger)")


class LinkLoad(Section):
    """How busy one direction of a link was during one window."""

    link: str = Field(description="name of the link")
    direction: Direction = Field(description="along or against the link as it is declared")
    source: str = Field(description="node that sends in this direction")
    target: str = Field(description="node that receives in this direction")
    throughput_mbit: float = Field(description="wire bits received / length of the window")
    busy: float | None = Field(
        description="throughput / probed capacity. A link that never idles while a packet waits "
        "(netem does not) is busy for exactly this share of the time. Above 1 by the probe's error"
    )


class PlaceParts(Section):
    """What a frame spent in one place of its way, means over the frames; the parts are those of
    `analysis/metrics/breakdown.py`."""

    place: str = Field(description="host of a stage, or a hop between two")
    total_ms: float = Field(description="from arrival to the next place")
    compute_ms: float = Field(description="the stage's model, coding, and the host around them")
    serialisation_ms: float = Field(description="its bytes / capacity of the links")
    queueing_ms: float = Field(description="behind others, in links and before a busy stage")
    propagation_ms: float = Field(description="least delay of the links, less serialisation")
    transport_ms: float = Field(
        description="waiting for TCP: to be taken over, for its window, for repairs; and the way "
        "of the result back"
    )


class Breakdown(Section):
    """Where the end-to-end time of frames went."""

    frames: int = Field(description="frames with a result whose every place was measured")
    closed_share: float = Field(
        description="of these, the share whose parts add up to the end-to-end time within 1 %"
    )
    worst_error: float = Field(
        description="largest deviation of the parts' sum from the end-to-end time, as a share of it"
    )
    places: tuple[PlaceParts, ...] = Field(description="in the order of the way")


class Window(Section):
    """A steady window of the pipeline under one generation."""

    label: str = Field(description="`before` or `after` compression")
    generation: int = Field(description="generation that the source stamped on its frames")
    rungs: tuple[str, ...] = Field(description="what crosses each cut, in words")
    duration_s: float = Field(description="length of the window")
    accuracy: Accuracy = Field(description="accuracy of the split model during the window")
    inferences: int | None = Field(
        description="images admitted in the window whose result came; null: the ledger has none"
    )
    inferences_per_s: float | None = Field(
        description="rate at which their results came: images after the first frame / time from "
        "the first to the last result"
    )
    end_to_end: Distribution | None = Field(
        description="from admitted by the source to result, per frame (ledger)"
    )
    cuts: tuple[CutTraffic, ...] = Field(description="per connection")
    compute: tuple[StageCompute, ...] = Field(description="per stage")
    breakdown: Breakdown | None = Field(
        description="null: the capacity of a link, or when a stage was free, is not known"
    )
    loads: tuple[LinkLoad, ...] = Field(description="per link and direction")
    busiest: LinkLoad | None = Field(description="the load that is highest")
    slowest: LinkLoad | None = Field(
        description="the load of the link that has the least probed capacity of those that the "
        "connections cross"
    )


class Reduction(Section):
    """A figure before and after compression."""

    before: float = Field(description="W or T: uncompressed split")
    after: float = Field(description="P or L: compressed fringe layers")
    reduction: float = Field(description="before - after")
    share: float | None = Field(description="reduction / before")

    @classmethod
    def of(cls, before: float, after: float) -> "Reduction":
        """The two figures and their difference."""
        return cls(
            before=before,
            after=after,
            reduction=before - after,
            share=(before - after) / before if before else None,
        )


class Reductions(Section):
    """One of the patent application's two sums, by connection and global."""

    connections: tuple[Reduction, ...] = Field(description="one per cut, in order")
    total: Reduction = Field(description="the sum over all connections")


class Against(Section):
    """What one connection sends per inference, beside the raw input that could be sent instead.

    Bytes are payloads: what the data set holds of an image against an encoded activation. On the
    wire both get the same headers.
    """

    raw_input_bytes: float = Field(description="baseline: the raw input sent instead")
    uncompressed_bytes: float = Field(description="baseline: the uncompressed split")
    compressed_bytes: float | None = Field(
        description="after compression; null: no window after compression"
    )
    uncompressed_is_loss: bool = Field(description="more than the raw input")
    compressed_is_loss: bool | None = Field(description="more than the raw input")
    raw_input_ms: float | None = Field(
        description="estimate, not measured: a frame of raw inputs at the lowest probed goodput of "
        "the path and half its probed round trip; null where the probe lacks the path"
    )
    uncompressed_ms: float | None = Field(
        description="median time of a frame on the wire. T of Eq. 2"
    )
    compressed_ms: float | None = Field(description="the same after compression. L of Eq. 2")


class Baselines(Section):
    """The split model beside sending the raw input, which would cross every link of the way."""

    connections: tuple[Against, ...] = Field(description="one per cut, in order")
    total: Against = Field(description="the sum over all connections")


class ImagesUse(Section):
    """Images that served one purpose. The three splits of a data set share no image."""

    purpose: str = Field(
        description="`calibration`: bases and ranges of the cuts; `decisions`: every accuracy that "
        "ladder and loop decide by; `figures`: accuracies of the windows"
    )
    split: str = Field(description="part of the data set: `train`, `validation` or `test`")
    images: int = Field(description="how many different ones")


class Work(Section):
    """What a piece of the controller's own work took."""

    work: str = Field(
        description="`ladder`: building it, on whatever machine did, once; `loop`: the "
        "optimisation loop of this run, waiting for its measurements included"
    )
    duration_s: float = Field(description="wall time")
    cpu_s: float = Field(description="processor time of the process that did it, all threads")
    peak_memory_mib: float = Field(
        description="largest resident set of that process until then, its libraries included"
    )


class IterationFigures(Section):
    """One iteration of the optimisation loop, as the controller saw it on the live pipeline."""

    index: int = Field(description="0 is the baseline")
    cut: int | None = Field(description="cut that was changed, null: none or several")
    generation: int = Field(description="generation it ran under")
    rungs: tuple[str, ...] = Field(description="what crosses each cut, in words")
    accuracy: Accuracy = Field(description="accuracy of this step")
    latency_ms_median: float = Field(description="end-to-end latency of a frame (ledger)")
    bytes_per_inference: tuple[float, ...] = Field(
        description="frame headers and payload per image and cut (ledger)"
    )
    is_loss: tuple[bool, ...] = Field(
        description="by cut: whether that is more than the raw input would be"
    )
    outcome: str = Field(description="`baseline`, `kept`, `rolled back` or `target met`")
    reason: str = Field(description="why, in words")


class AccuracyFloor(Section):
    """The accuracy that the loop had to keep, on the images it decided on and on the others.

    The loop decides on validation images, so its floor holds for them; the windows before and
    after compression are measured on other images, which it never saw.
    """

    max_loss_points: float | None = Field(
        description="floor in percentage points below the uncompressed model (experiment)"
    )
    min_accuracy: float | None = Field(description="floor as an accuracy (experiment)")
    decided_before: Accuracy = Field(description="uncompressed, on the images the loop decides on")
    decided_after: Accuracy = Field(description="as the loop left it, on the same images")
    decided_held: bool = Field(description="whether the floor held there")
    measured_before: Accuracy | None = Field(description="of the window before compression")
    measured_after: Accuracy | None = Field(description="of the window after compression")
    measured_held: bool | None = Field(description="whether the floor held in these windows")


class LinkReplay(Section):
    """How the trace of one direction of a link was played (events; what the kernel confirmed)."""

    link: str = Field(description="name of the link")
    direction: Direction = Field(description="along or against the link as it is declared")
    changes: int = Field(description="changes applied")
    late_ms_median: float = Field(description="median delay of a change behind its time")
    late_ms_p95: float = Field(description="95 % were less late")
    late_ms_max: float = Field(description="the latest")
    rate_mbit_min: float = Field(description="lowest rate applied")
    rate_mbit_max: float = Field(description="highest rate applied")


class ChosenRungs(Section):
    """One decision under which rungs to serve."""

    t_s: float = Field(description="since the beginning of the mode")
    generation: int = Field(description="generation that the source stamps on its frames")
    rungs: tuple[str, ...] = Field(description="what crosses each cut, in words")
    accuracy_forecast: float = Field(description="what the ladders foretell, 0 to 1")
    rate_mbit: tuple[float, ...] = Field(
        description="estimate for each connection (the oracle's: the truth); none for fixed rungs"
    )
    forecast_ms: float | None = Field(description="end-to-end latency that was foretold")
    reason: str = Field(description="why, in words")


class ControlMode(Section):
    """The pipeline served under one mode; every mode has the links' traces from the beginning."""

    mode: str = Field(description="`automatic`, `oracle`, `uncompressed` or the rungs' names")
    begin_s: float = Field(description="since the start of the run")
    duration_s: float = Field(description="how long it was served")
    frames: int = Field(description="frames admitted in that time (ledger)")
    frames_due: int = Field(
        description="frames that the workload's rhythm asked for; those that found the window "
        "full were left out"
    )
    frames_within: int = Field(description="frames from admission to result within the bound")
    within_share: float | None = Field(
        description="frames within / frames due, 0 where none came; null: none was due"
    )
    passes: int = Field(
        description="whole passes over the split that were served, from the mode's first frame on"
    )
    accuracy: Accuracy | None = Field(
        description="of the inferences in these passes, so that every image counts as often as "
        "every other; null: not one whole pass"
    )
    accuracy_forecast: float | None = Field(
        description="mean over all frames served of what the ladders foretell of their rungs"
    )
    wire_bytes: tuple[float, ...] | None = Field(
        description="by connection: bytes per inference served, all headers and retransmissions "
        "included (sender's capture); null: a connection was not seen"
    )
    bandwidth_reduction: Reductions | None = Field(
        description="Eq. 1 against the uncompressed split, measured before control; null: one of "
        "the two was not seen"
    )
    switches: int = Field(description="changes of the rungs")
    latency: Distribution | None = Field(description="from admission to result, per frame (ledger)")
    choices: tuple[ChosenRungs, ...] = Field(description="in the order of time")


class Control(Section):
    """Automatic control of the rungs, beside what it is compared with."""

    bound_ms: float = Field(description="a frame is to take at most so long")
    modes: tuple[ControlMode, ...] = Field(description="in the order of time")

    def mode(self, name: str) -> ControlMode | None:
        """The first mode of a name."""
        return next((mode for mode in self.modes if mode.mode == name), None)


class Pipeline(Section):
    """A split model."""

    name: str = Field(description="`pipeline`: the only one")
    hosts: tuple[str, ...] = Field(description="host of each stage, in order")
    stages: tuple[tuple[str, ...], ...] = Field(description="layers of each stage")
    split_reason: str | None = Field(
        description="why it is split so, where measured compute and the links decided before the "
        "run (`plan.json`, placement: all figures); null: the experiment says where"
    )
    fringe: tuple[str, ...] = Field(description="fringe layers; all others are frozen")
    frozen_unchanged: bool | None = Field(
        description="whether the frozen tensors' hash was the same before and after"
    )
    frozen_sha256: str | None = Field(description="the hash before")
    raw_input_bytes: int = Field(
        description="baseline: bytes of one raw input image as the data set holds it, if that "
        "were sent instead"
    )
    windows: tuple[Window, ...] = Field(description="before and after compression")
    breakdown: Breakdown | None = Field(description="of all frames of the run")
    bandwidth_reduction: Reductions | None = Field(
        description="Eq. 1 (US 2025/0265465 A1, [0043]): sum of W - sum of P, wire bytes per "
        "inference"
    )
    latency_reduction: Reductions | None = Field(
        description="Eq. 2: sum of T - sum of L, median milliseconds from first byte out to last "
        "byte delivered"
    )
    baselines: Baselines | None = Field(
        description="null: a cut is missing in the window before or after compression"
    )
    images: tuple[ImagesUse, ...] = Field(description="which images served which purpose")
    work: tuple[Work, ...] = Field(description="what the controller's own work took")
    iterations: tuple[IterationFigures, ...] = Field(description="history of the loop")
    accuracy_floor: AccuracyFloor | None = Field(
        description="null: the experiment has no floor, or the loop did not end"
    )
    control: Control | None = Field(description="null: the loop served, and no control")
    target_reached: bool | None = Field(description="whether the loop met its target")
    loop_reason: str | None = Field(description="why the loop ended")


class ExpectedDownload(Section):
    """The least time a download can take, from what the probe measured before the run.

    A round trip is the sum of the probed minimum round-trip times of the links on the path: one
    for the handshake, one from the request to the first byte, then the payload at the lowest
    probed goodput, and the time for which slow start leaves the link idle: rounds that begin with
    10 segments (RFC 6928), or with the window that the server opened for the path, and double,
    until a round fills the round-trip time.
    """

    handshake_ms: float = Field(description="one probed round trip: SYN to SYN-ACK")
    request_ms: float = Field(description="one more round trip for request and first byte")
    slow_start_ms: float = Field(description="idle time of the rounds of slow start")
    payload_ms: float = Field(description="payload bytes / lowest probed goodput on the path")
    total_ms: float = Field(description="the sum")


class Download(Section):
    """One response of the model server to one UE, from the UE's capture."""

    ue: str = Field(description="host that asked")
    round: int = Field(description="how often the UE had begun anew, without a model, before")
    step: int = Field(description="which of the UE's steps asked, counted from 0")
    attempt: int = Field(description="which connection of this request, counted from 1")
    outcome: str = Field(
        description="`complete`; `interrupted` or `damaged`: the next attempt fetched the rest"
    )
    admission: str | None = Field(description="`lookup` or `stream`; null: a plain range")
    estimate_mbit: float | None = Field(
        description="rate of the link that the server reckoned with; of a stream, what its kernel "
        "measured in the end"
    )
    estimate_source: str | None = Field(description="`profile` or `measured`")
    server: str = Field(description="host that answered")
    model: str = Field(description="name of the model")
    deadline_ms: float | None = Field(description="deadline the UE asked for")
    wanted_accuracy: float | None = Field(description="accuracy the UE asked for")
    configuration: tuple[int, ...] | None = Field(description="what the server decided to send")
    admission_reason: str | None = Field(description="why, in the server's words")
    first_byte: int = Field(description="first byte of the model file that was sent")
    end_byte: int = Field(description="byte of the model file before which sending ended")
    payload_bytes: int = Field(description="bytes of the response, HTTP header included")
    wire_bytes: int = Field(description="the same with TCP, IP and Ethernet headers, as received")
    retransmitted_bytes: int = Field(description="payload bytes that the server sent again")
    begin_s: float = Field(description="SYN, since the first request of this UE for this model")
    duration_ms: float = Field(description="from the first SYN to the last payload byte")
    deadline_met: bool | None = Field(description="duration ≤ deadline; null without a deadline")
    goodput_mbit: float = Field(description="payload bits / duration")
    handshake_ms: float = Field(description="SYN to SYN-ACK in the UE's capture")
    server_ms: float | None = Field(
        description="in the server's capture, from the last byte of the request to the first of "
        "the response: the server's own time"
    )
    expected: ExpectedDownload | None = Field(description="null where the probe lacks the path")
    excess: float | None = Field(description="duration / expected - 1")


class DeadlineRequest(Section):
    """A request with a deadline: what was complete by then, against what the link could carry.

    A configuration counts with the capture's last byte of it. ``carried_bytes`` is the longest
    prefix for which the least time (``ExpectedDownload``) is within the deadline, as if the UE had
    the path to itself; ``possible_bytes`` of those that end with a configuration the one that an
    admission that knew would have chosen: a stream the longest, a look-up the most accurate, of
    equals the shorter.
    """

    ue: str = Field(description="host that asked")
    round: int = Field(description="how often the UE had begun anew before")
    step: int = Field(description="which of its steps, counted from 0")
    admission: str = Field(description="`lookup` or `stream`")
    deadline_ms: float = Field(description="asked for")
    refused: bool = Field(description="the server did not send anything")
    met: bool = Field(description="something came, and its last byte was within the deadline")
    configuration: str | None = Field(description="largest that was complete by the deadline")
    useful_bytes: int = Field(description="of the file, up to the end of that configuration")
    possible_bytes: int | None = Field(description="null where the probe lacks the path")
    carried_bytes: int | None = Field(description="the same, blocks or not")
    useful_share: float | None = Field(description="useful / possible bytes")
    link_share: float | None = Field(description="useful / carried bytes")
    first_inference_ms: float | None = Field(
        description="from the last byte of the smallest configuration at the UE to the end of its "
        "first inference; null where the UE had it before"
    )


class UeDeliveries(Section):
    """All requests with a deadline of one UE and one kind of admission."""

    ue: str = Field(description="host")
    admission: str = Field(description="`lookup` or `stream`")
    requests: int = Field(description="with a deadline")
    refused: int = Field(description="of them the server sent nothing for")
    met: int = Field(description="of them were complete within their deadline")
    met_share: float = Field(description="met / requests")
    useful_share_min: float | None = Field(description="lowest useful / possible bytes")
    useful_share_median: float | None = Field(description="median of the same")
    link_share_median: float | None = Field(description="median useful / carried bytes")
    good_share: float | None = Field(
        description="share of the requests that met their deadline with at least 95 % of the "
        "possible bytes"
    )
    first_inference_ms_median: float | None = Field(
        description="from the last byte of the smallest configuration to the end of its first "
        "inference"
    )
    first_inference_ms_max: float | None = Field(description="longest of the same")


class Refusal(Section):
    """A step that came to nothing."""

    ue: str = Field(description="host that asked")
    round: int = Field(description="how often it had begun anew before")
    step: int = Field(description="which of its steps, counted from 0")
    status: int | None = Field(description="the server's HTTP status; null: the UE's own refusal")
    reason: str = Field(description="why")


class StepDown(Section):
    """A UE went over to another configuration that it held, without any transfer."""

    ue: str = Field(description="host")
    configuration: tuple[int, ...] = Field(description="what it runs since then")
    macs: int = Field(description="multiply-accumulates of one inference")
    accuracy: Accuracy | None = Field(description="measured by the UE")


class InitialWindow(Section):
    """An initial congestion window that the server opened for one UE's path."""

    ue: str = Field(description="host")
    segments: int = Field(description="instead of 10")


class InjectedFault(Section):
    """Harm that the server did because the experiment asked for it."""

    ue: str = Field(description="host whose response was struck")
    fault: str = Field(description="`cut` or `flip`")
    at_byte: int = Field(description="of the file")


class ConfigurationFigures(Section):
    """One configuration of an Accordion model that became able to run on a UE."""

    ue: str = Field(description="host it runs on")
    model: str = Field(description="name of the model")
    configuration: tuple[int, ...] = Field(description="blocks per part of the network")
    file_bytes: int = Field(description="length of the file's prefix that holds it")
    delivered_s: float | None = Field(
        description="last byte at the UE (its capture), since the first SYN of the model's "
        "downloads"
    )
    ready_s: float = Field(description="the UE's program has it, since the same moment")
    usable_s: float | None = Field(description="end of its first inference, since the same moment")
    accuracy: Accuracy | None = Field(description="measured by the UE; null: never run")


class BlockFigures(Section):
    """One block of an Accordion model on the wire: what makes one more configuration able to run.

    Times are since the first SYN of the UE's downloads of this model.
    """

    ue: str = Field(description="host that received it")
    model: str = Field(description="name of the model")
    configuration: str = Field(description="what is able to run with it, blocks per part")
    first_byte: int = Field(description="first byte of the file that this download carried of it")
    end_byte: int = Field(description="the byte after its last")
    queued_s: float | None = Field(
        description="the request's last byte was at the server (its capture); null: not captured"
    )
    first_out_s: float | None = Field(description="first byte sent (server's capture)")
    last_out_s: float | None = Field(description="last byte first sent (server's capture)")
    delivered_s: float | None = Field(
        description="it and all before it were at the UE (its capture)"
    )
    wire_bytes: int = Field(description="with headers and retransmissions, server's capture")
    retransmitted_bytes: int = Field(description="payload bytes sent again")


class Accordion(Section):
    """The progressively delivered models."""

    downloads: tuple[Download, ...] = Field(description="in the order of time")
    configurations: tuple[ConfigurationFigures, ...] = Field(
        description="of every UE's first round, in the order of time"
    )
    requests: tuple[DeadlineRequest, ...] = Field(description="those with a deadline")
    ues: tuple[UeDeliveries, ...] = Field(description="the same, per UE and kind of admission")
    refusals: tuple[Refusal, ...] = Field(description="steps that came to nothing")
    step_downs: tuple[StepDown, ...] = Field(description="changes without transfer")
    initial_windows: tuple[InitialWindow, ...] = Field(description="none: the system's own")
    faults: tuple[InjectedFault, ...] = Field(description="done on purpose")
    blocks: tuple[BlockFigures, ...] = Field(default=(), description="in the order of time")


class Summary(Section):
    """The figures of one run."""

    schema_version: Literal[2] = Field(
        default=SCHEMA_VERSION,
        serialization_alias="schema",
        validation_alias="schema",
        description="version of this format",
    )
    name: str = Field(description="name of the experiment")
    failure: str | None = Field(description="why the emulation failed, if it did")
    fidelity: Fidelity = Field(description="whether the network can be trusted")
    problems: tuple[str, ...] = Field(
        description="what the analysis could not read or join; the figures are without it"
    )
    captured_packets: int = Field(description="packets in all captures")
    links: tuple[LinkTraffic, ...] = Field(description="per link and direction")
    replays: tuple[LinkReplay, ...] = Field(description="directions whose links varied")
    together: bool = Field(
        description="whether models were delivered while the split models served"
    )
    pipelines: tuple[Pipeline, ...] = Field(description="the split models, which served at once")
    accordion: Accordion | None = Field(description="null: the run delivered no model")

    @model_validator(mode="before")
    @classmethod
    def _of_version_1(cls, data: Any) -> Any:
        """Runs then had one split model at most."""
        if not isinstance(data, dict) or data.get("schema") != 1:
            return data
        newer = {name: value for name, value in data.items() if name != "pipeline"}
        alone = data.get("pipeline")
        pipelines = [{"name": LONE_PIPELINE, **alone}] if alone else []
        return newer | {"schema": SCHEMA_VERSION, "together": False, "pipelines": pipelines}

    @property
    def pipeline(self) -> Pipeline | None:
        """The split model of a run that has one and no more."""
        return self.pipelines[0] if len(self.pipelines) == 1 else None

    def write(self, path: Path) -> None:
        """As indented JSON."""
        path.write_text(self.model_dump_json(indent=2, by_alias=True) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Summary":
        """What ``write`` wrote, now or in version 1; pydantic's ``ValidationError`` where it was
        not."""
        return cls.model_validate_json(path.read_text(encoding="utf-8"))
