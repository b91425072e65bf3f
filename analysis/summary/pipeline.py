"""Part of ``summary.json``: a split model, before and after compression."""

from pydantic import Field

from analysis.summary.control import Control
from analysis.summary.section import Accuracy, Distribution, SummarySection
from analysis.summary.traffic import Baselines, CutTraffic, Reductions
from stage_node.records.vocabulary import Direction


class StageCompute(SummarySection):
    """Time of one stage's computing per frame, during one window."""

    host: str = Field(description="host of the stage")
    time: Distribution = Field(description="compute time of a frame (ledger)")


class LinkLoad(SummarySection):
    """Utilisation of one direction of a link during one window."""

    link: str = Field(description="name of the link")
    direction: Direction = Field(description="along or against the link as it is declared")
    source: str = Field(description="node that sends in this direction")
    target: str = Field(description="node that receives in this direction")
    throughput_mbit: float = Field(description="wire bits received / length of the window")
    busy: float | None = Field(
        description="throughput / probed capacity. A link that never idles while a packet waits "
        "(netem does not) is busy for exactly this share of the time. Above 1 by the probe's error"
    )


class PlaceParts(SummarySection):
    """Time of a frame in one place of its way, means over the frames; its parts are defined in
    `analysis/metrics/pipeline/breakdown.py`."""

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


class Breakdown(SummarySection):
    """The end-to-end time of frames, place by place."""

    frames: int = Field(description="frames with a result whose every place was measured")
    closed_share: float = Field(
        description="of these, the share whose parts add up to the end-to-end time within 1 %"
    )
    worst_error: float = Field(
        description="largest deviation of the parts' sum from the end-to-end time, as a share of it"
    )
    places: tuple[PlaceParts, ...] = Field(description="in the order of the way")


class Window(SummarySection):
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


class ImagesUse(SummarySection):
    """Images that served one purpose. The three splits of a data set share no image."""

    purpose: str = Field(
        description="`calibration`: bases and ranges of the cuts; `decisions`: every accuracy that "
        "ladder and loop decide by; `figures`: accuracies of the windows"
    )
    split: str = Field(description="part of the data set: `train`, `validation` or `test`")
    images: int = Field(description="how many different ones")


class WorkSummary(SummarySection):
    """Cost of a piece of the controller's own work."""

    work: str = Field(
        description="`ladder`: building it, on whatever machine did, once; `loop`: the "
        "optimisation loop of this run, waiting for its measurements included"
    )
    duration_s: float = Field(description="wall time")
    cpu_s: float = Field(description="processor time of the process that did it, all threads")
    peak_memory_mib: float = Field(
        description="largest resident set of that process until then, its libraries included"
    )


class IterationFigures(SummarySection):
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


class AccuracyFloor(SummarySection):
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


class PipelineSummary(SummarySection):
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
    work: tuple[WorkSummary, ...] = Field(description="what the controller's own work took")
    iterations: tuple[IterationFigures, ...] = Field(description="history of the loop")
    accuracy_floor: AccuracyFloor | None = Field(
        description="null: the experiment has no floor, or the loop did not end"
    )
    control: Control | None = Field(description="null: the loop served, and no control")
    target_reached: bool | None = Field(description="whether the loop met its target")
    loop_reason: str | None = Field(description="why the loop ended")
