"""Sentences about a split model: before and after compression, its baselines, its provenance."""

from collections.abc import Callable

from analysis.report.control_sentences import control_sentences
from analysis.summary.pipeline import (
    AccuracyFloor,
    Breakdown,
    ImagesUse,
    PipelineSummary,
    Window,
    WorkSummary,
)
from analysis.summary.section import Accuracy
from analysis.summary.traffic import Against, Baselines
from analysis.wording import compared, counted, listed, multiples, number, percent, points


def pipeline_sentences(pipeline: PipelineSummary) -> list[str]:
    """Say how the model was split and what compression, or control, made of it."""
    sentences = [f"The model was split over {listed(pipeline.hosts)}."]
    if pipeline.split_reason:
        sentences.append(f"The split was chosen automatically: {pipeline.split_reason}.")
    before, after = before_and_after(pipeline)
    if pipeline.control:
        sentences += control_sentences(pipeline.control)
    elif before is None or after is None:
        sentences.append(no_comparison(pipeline))
    else:
        sentences += _comparison(pipeline, before, after)
    if pipeline.target_reached is not None:
        without = "" if pipeline.target_reached else " without reaching its target"
        sentences.append(
            f"The compression loop ended{without}: {pipeline.loop_reason} (its bytes are whole "
            "frames as the senders wrote them, without the TCP, IP and Ethernet headers that the "
            "captures see)."
        )
    if pipeline.frozen_unchanged is not None:
        state = "unchanged" if pipeline.frozen_unchanged else "CHANGED, which must not happen"
        sentences.append(f"The frozen layers are {state} (SHA-256 before and after).")
    return sentences


def before_and_after(pipeline: PipelineSummary) -> tuple[Window | None, Window | None]:
    """Find the windows before and after compression; None for one that was not measured."""
    windows = {window.label: window for window in pipeline.windows}
    return windows.get("before"), windows.get("after")


def no_comparison(pipeline: PipelineSummary) -> str:
    """Say which window is missing, and that there is no comparison for that."""
    missing = [label for label in ("before", "after") if label not in _labels(pipeline)]
    which = " or ".join(missing)
    return f"No steady window {which} compression was measured, so there is no comparison."


def _labels(pipeline: PipelineSummary) -> set[str]:
    return {window.label for window in pipeline.windows}


def baseline_sentences(pipeline: PipelineSummary) -> list[str]:
    """Hold the split against sending the raw input, which splits of small images lose to."""
    if pipeline.baselines is None:
        return []
    uncompressed = _judged(pipeline, lambda connection: connection.uncompressed_bytes)
    sentences = [
        "Sending the raw input, as the data set holds it, instead of a split would put "
        f"{number(pipeline.raw_input_bytes)} payload bytes per inference on each connection.",
        f"Against that the uncompressed split is {uncompressed}.",
    ]
    if pipeline.baselines.total.compressed_bytes is not None:
        sentences.append(f"Compressed, it is {_judged(pipeline, lambda c: c.compressed_bytes)}.")
        sentences += _whole_way(pipeline.baselines)
    return sentences


def provenance(pipeline: PipelineSummary) -> list[str]:
    """Say which images the figures come from, and what the controller's own work took."""
    sentences = []
    if pipeline.images:
        uses = listed([_use(use) for use in pipeline.images])
        sentences.append(f"Of the data set, {uses}; these splits share no image.")
    sentences += [_worked(work) for work in pipeline.work]
    return sentences


def floor_sentences(floor: AccuracyFloor) -> list[str]:
    """Say what was lost and whether the floor held: where the loop looked, and elsewhere."""
    asked = (
        f"at least {percent(floor.min_accuracy)}"
        if floor.min_accuracy is not None
        else f"a loss of at most {number(floor.max_loss_points, 1)} points"
    )
    sentences = [
        f"On the {floor.decided_after.split} images that the loop decides on it "
        f"{_lost(floor.decided_before, floor.decided_after)}: the floor, {asked}, "
        f"{'held' if floor.decided_held else 'was BROKEN'} there."
    ]
    before, after = floor.measured_before, floor.measured_after
    if before and after:
        sentences.append(
            f"On the {after.split} images, which the loop never sees, it {_lost(before, after)}: "
            f"there the floor {'held as well' if floor.measured_held else 'did not hold'}."
        )
    return sentences


def accuracy_words(accuracy: Accuracy) -> str:
    """Write an accuracy with the images it was measured on."""
    images = f"{accuracy.split} image"
    return f"{percent(accuracy.value)} ({counted(accuracy.images, images)})"


def _comparison(pipeline: PipelineSummary, before: Window, after: Window) -> list[str]:
    sentences = []
    if pipeline.bandwidth_reduction:
        total = pipeline.bandwidth_reduction.total
        sentences.append(
            f"Compressing the fringe layers took the bytes on the wire from "
            f"{number(total.before)} to {number(total.after)} per inference, all cuts together "
            f"({compared(total.before, total.after)})."
        )
    if pipeline.latency_reduction:
        total = pipeline.latency_reduction.total
        sentences.append(
            f"The median time of a frame on the wire, summed over the cuts, went from "
            f"{number(total.before, 1)} to {number(total.after, 1)} ms "
            f"({compared(total.before, total.after)})."
        )
    if before.inferences and before.end_to_end and after.end_to_end:
        images = round(before.inferences / before.end_to_end.count)
        sentences.append(
            f"From admission to result a frame of {counted(images, 'image')} took "
            f"{number(before.end_to_end.median_ms, 1)} ms before and "
            f"{number(after.end_to_end.median_ms, 1)} ms after (median)."
        )
    if before.breakdown and after.breakdown:
        sentences.append(
            f"Of a frame's time, {_largest_parts(before.breakdown)} before; "
            f"{_largest_parts(after.breakdown)} after."
        )
    sentences.append(
        f"Accuracy was {accuracy_words(before.accuracy)} before and "
        f"{accuracy_words(after.accuracy)} after."
    )
    if pipeline.accuracy_floor:
        sentences += floor_sentences(pipeline.accuracy_floor)
    if before.slowest and after.slowest:
        sentences.append(
            f"The slowest link that the frames cross, {before.slowest.source} to "
            f"{before.slowest.target}, was busy {percent(before.slowest.busy)} of the time before "
            f"and {percent(after.slowest.busy)} after."
        )
    return sentences


def _largest_parts(breakdown: Breakdown) -> str:
    """Name the two parts that took most of the time, all places together."""
    total = sum(place.total_ms for place in breakdown.places)
    parts = {
        "computing": sum(place.compute_ms for place in breakdown.places),
        "serialisation": sum(place.serialisation_ms for place in breakdown.places),
        "queueing": sum(place.queueing_ms for place in breakdown.places),
        "propagation": sum(place.propagation_ms for place in breakdown.places),
        "waiting for TCP": sum(place.transport_ms for place in breakdown.places),
    }
    largest = sorted(parts, key=lambda part: -parts[part])[:2]
    return " and ".join(f"{percent(parts[part] / total, 0)} was {part}" for part in largest)


def _lost(before: Accuracy, after: Accuracy) -> str:
    judged = points(before.value, after.value, words=("lost", "gained"))
    if judged == "the same":
        return "lost nothing"
    amount, _, verb = judged.rpartition(" ")
    return f"{verb} {amount}"


def _judged(pipeline: PipelineSummary, figure: Callable[[Against], float | None]) -> str:
    """Word loss or gain, connection by connection; what is equal is neither."""
    assert pipeline.baselines
    said = []
    for cut, connection in enumerate(pipeline.baselines.connections):
        size, raw = figure(connection) or 0.0, connection.raw_input_bytes
        where = f"{pipeline.hosts[cut]} → {pipeline.hosts[cut + 1]}"
        verdict = "a LOSS" if size > raw else "a gain" if size < raw else "neither loss nor gain"
        said.append(f"{verdict} on {where} ({number(size)} bytes, {multiples(size, raw)})")
    return listed(said)


def _whole_way(baselines: Baselines) -> list[str]:
    total = baselines.total
    if total.raw_input_ms is None or total.compressed_ms is None:
        return []
    return [
        f"By the probe, a frame of raw inputs would be on the wire for about "
        f"{number(total.raw_input_ms, 1)} ms over all connections; the compressed split measured "
        f"{number(total.compressed_ms, 1)} ms."
    ]


def _use(use: ImagesUse) -> str:
    did = {
        "calibration": "calibrated the cuts",
        "decisions": "decided every step",
        "figures": "gave the accuracies before and after",
    }
    return f"{counted(use.images, f'{use.split} image')} {did.get(use.purpose, use.purpose)}"


def _worked(work: WorkSummary) -> str:
    what = {
        "ladder": "Building the ladder, which is done once,",
        "loop": "The compression loop itself, its measurements on the live pipeline included,",
    }
    # none at all where the clock stood still while it computed
    computing = (
        f", {number(work.cpu_s, 1)} s of them on the processor," if work.cpu_s >= 0.05 else ""
    )
    return (
        f"{what.get(work.work, work.work)} took {number(work.duration_s, 1)} s{computing} and "
        f"{number(work.peak_memory_mib)} MiB of memory at its peak."
    )
