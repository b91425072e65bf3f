"""The result of a run in plain words, with its numbers."""

from collections.abc import Callable

from analysis.summary import Summary
from analysis.summary.accordion import (
    Accordion,
    DownloadSummary,
    RefusalSummary,
    StepDown,
    UeDeliveries,
)
from analysis.summary.computing import ComputingSummary, HostDeviceSummary
from analysis.summary.control import Control, ControlMode
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
from stage_node.records.configuration import configuration_name

TOLD_DOWNLOADS = 6


def result_paragraphs(summary: Summary) -> list[list[str]]:
    """Paragraphs of sentences: reservations, what ran at the same time, what computing was charged,
    each split model, its baselines and what its figures rest on, Accordion.

    They say no more than the summary holds.
    """
    paragraphs = [_reservations(summary), _at_once(summary)]
    if summary.computing:
        paragraphs.append(_charged(summary.computing))
    for pipeline in summary.pipelines:
        told = [_pipeline(pipeline), _against_baselines(pipeline), _provenance(pipeline)]
        if len(summary.pipelines) > 1:
            told = [[f"{pipeline.name}:", *sentences] for sentences in told if sentences]
        paragraphs += told
    if summary.accordion:
        paragraphs.append(_accordion(summary.accordion))
    if not summary.pipelines and not summary.accordion:
        paragraphs.append(["No split model served and no model was delivered in this run."])
    return [paragraph for paragraph in paragraphs if paragraph]


def _reservations(summary: Summary) -> list[str]:
    sentences = []
    if summary.fidelity.verdict == "fail":
        sentences.append(
            "The network was not what it claimed to be, so the figures below must not be trusted."
        )
    if summary.fidelity.verdict == "unknown":
        sentences.append("Whether the network was what it claimed to be was never judged.")
    return sentences


def _at_once(summary: Summary) -> list[str]:
    """Sentences about shared use of the network; none if one had it to itself."""
    sentences = []
    if len(summary.pipelines) > 1:
        each = (f"{pipeline.name} ({listed(pipeline.hosts)})" for pipeline in summary.pipelines)
        count = number(len(summary.pipelines))
        sentences.append(f"{count} split models served at the same time: {listed(tuple(each))}.")
    if summary.together:
        sentences.append("Models were delivered while split models served.")
    if sentences:
        sentences.append(
            "None was measured before all were ready, and each split model served on until all "
            "were done. A link's utilisation counts all that crossed it."
        )
    return sentences


def _charged(computing: ComputingSummary) -> list[str]:
    """That times of computing are declared, from which table, for which devices."""
    sentences = [
        "Computing was charged, not measured: it took what a table says, measured on one core of "
        f"{computing.cpu_model} ({computing.measured}, torch {computing.torch_version}), divided "
        "by the speed of the host's device and the host's share of a processor."
    ]
    if not computing.declared:
        sentences.append("The experiment names no devices, so that all are the same.")
    devices = listed(tuple(map(_device, computing.devices)))
    return [*sentences, f"{devices}, all at the same time."]


def _device(device: HostDeviceSummary) -> str:
    """A host's device and what its times are: ``edge computes as jetson (speed 0.56)``."""
    known = "in no time" if device.speed is None else f"speed {number(device.speed, 2)}"
    if device.measured:
        known = "times measured on it"
    share = f"; {percent(device.cpu_share, 0)} of it" if device.cpu_share < 1 else ""
    return f"{device.host} computes as {device.device} ({known}{share})"


def number(value: float | None, digits: int = 0) -> str:
    """With thin spaces between thousands; a dash for what was not measured."""
    if value is None:
        return "\u2013"
    return f"{value:,.{digits}f}".replace(",", "\u202f").replace("-", "\u2212")


def percent(share: float | None, digits: int = 1) -> str:
    """A share as percentage."""
    return "\u2013" if share is None else f"{number(share * 100, digits)}\u00a0%"


def listed(words: tuple[str, ...]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _pipeline(pipeline: PipelineSummary) -> list[str]:
    sentences = [f"The model was split over {listed(pipeline.hosts)}."]
    if pipeline.split_reason:
        sentences.append(f"The split was chosen automatically: {pipeline.split_reason}.")
    windows = {window.label: window for window in pipeline.windows}
    before, after = windows.get("before"), windows.get("after")
    if pipeline.control:
        sentences += _control(pipeline.control)
    elif before is None or after is None:
        present = [window.label for window in pipeline.windows]
        missing = "before nor after" if not present else ("after" if before else "before")
        sentences.append(
            f"No steady window {missing} compression was measured, so there is no comparison."
        )
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


def _control(control: Control) -> list[str]:
    """Sentences about each mode, automatic control first, and its loss to the oracle."""
    bound = f"{number(control.bound_ms)} ms"
    sentences = [_mode(mode, bound) for mode in control.modes]
    automatic, oracle = control.mode("automatic"), control.mode("oracle")
    if automatic and oracle and automatic.accuracy and oracle.accuracy:
        points = (oracle.accuracy.value - automatic.accuracy.value) * 100
        side = "below" if points >= 0 else "above"
        sentences.append(
            f"Automatic control's accuracy is {number(abs(points), 2)} points {side} the oracle's."
        )
    if automatic and automatic.bandwidth_reduction:
        total = automatic.bandwidth_reduction.total
        sentences.append(
            f"Automatic control put {number(total.after)} bytes per inference on the wire, all "
            f"cuts together, and the uncompressed split {number(total.before)} "
            f"({_less(total.share)})."
        )
    return sentences


def _mode(mode: ControlMode, bound: str) -> str:
    """Clause about a mode's frames within the bound, and its accuracy."""
    share = f"{percent(mode.within_share)} of the frames due"
    sentence = f"With rungs that stay ({mode.mode}) {share} were within {bound}"
    if mode.mode in ("automatic", "oracle"):
        who = "Automatic control" if mode.mode == "automatic" else "The oracle"
        switches = f"{number(mode.switches)} switch{'' if mode.switches == 1 else 'es'}"
        sentence = f"{who} kept {share} within {bound}, with {switches}"
    if not mode.frames:
        return f"{sentence}: of {number(mode.frames_due)} frames due NONE was served."
    if mode.accuracy is None:
        return f"{sentence}; it served too little for an accuracy."
    return f"{sentence}, at an accuracy of {_accuracy_of_passes(mode.accuracy, mode.passes)}."


def _accuracy_of_passes(accuracy: Accuracy, passes: int) -> str:
    times = "one pass" if passes == 1 else f"{number(passes)} passes"
    return (
        f"{percent(accuracy.value, 2)} ({times} over {number(accuracy.images)} "
        f"{accuracy.split} images)"
    )


def _comparison(pipeline: PipelineSummary, before: Window, after: Window) -> list[str]:
    sentences = []
    if pipeline.bandwidth_reduction:
        total = pipeline.bandwidth_reduction.total
        sentences.append(
            f"Compressing the fringe layers took the bytes on the wire from "
            f"{number(total.before)} to {number(total.after)} per inference, all cuts together "
            f"({_less(total.share)})."
        )
    if pipeline.latency_reduction:
        total = pipeline.latency_reduction.total
        sentences.append(
            f"The median time of a frame on the wire, summed over the cuts, went from "
            f"{number(total.before, 1)} to {number(total.after, 1)} ms ({_less(total.share)})."
        )
    if before.inferences and before.end_to_end and after.end_to_end:
        images = before.inferences / before.end_to_end.count
        sentences.append(
            f"From admission to result a frame of {number(images)} images took "
            f"{number(before.end_to_end.median_ms, 1)} ms before and "
            f"{number(after.end_to_end.median_ms, 1)} ms after (median)."
        )
    if before.breakdown and after.breakdown:
        sentences.append(
            f"Of a frame's time, {_largest_parts(before.breakdown)} before; "
            f"{_largest_parts(after.breakdown)} after."
        )
    sentences.append(
        f"Accuracy was {_accuracy(before.accuracy)} before and {_accuracy(after.accuracy)} after."
    )
    if pipeline.accuracy_floor:
        sentences += _floor(pipeline.accuracy_floor)
    if before.slowest and after.slowest:
        sentences.append(
            f"The slowest link that the frames cross, {before.slowest.source} to "
            f"{before.slowest.target}, was busy {percent(before.slowest.busy)} of the time before "
            f"and {percent(after.slowest.busy)} after."
        )
    return sentences


def _largest_parts(breakdown: Breakdown) -> str:
    """The two parts that took most of the time, all places together."""
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


def _floor(floor: AccuracyFloor) -> list[str]:
    """Sentences about the loss, and whether it kept to the floor: for the loop, and elsewhere."""
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


def _lost(before: Accuracy, after: Accuracy) -> str:
    points = (before.value - after.value) * 100
    if abs(points) < 0.05:
        return "lost nothing"
    return f"{'lost' if points > 0 else 'gained'} {number(abs(points), 1)} percentage points"


def _against_baselines(pipeline: PipelineSummary) -> list[str]:
    """The comparison that splits of small images lose."""
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


def _judged(pipeline: PipelineSummary, figure: Callable[[Against], float | None]) -> str:
    """Loss or gain, connection by connection, in words."""
    assert pipeline.baselines
    said = []
    for cut, connection in enumerate(pipeline.baselines.connections):
        size, raw = figure(connection) or 0.0, connection.raw_input_bytes
        where = f"{pipeline.hosts[cut]} \u2192 {pipeline.hosts[cut + 1]}"
        if size > raw:
            said.append(f"a LOSS on {where} ({number(size)} bytes, {number(size / raw, 1)} times "
                        "as many)")  # fmt: skip
        else:
            said.append(f"a gain on {where} ({number(size)} bytes, {number(raw / size, 1)} times "
                        "fewer)")  # fmt: skip
    return listed(tuple(said))


def _whole_way(baselines: Baselines) -> list[str]:
    total = baselines.total
    if total.raw_input_ms is None or total.compressed_ms is None:
        return []
    return [
        f"By the probe, a frame of raw inputs would be on the wire for about "
        f"{number(total.raw_input_ms, 1)} ms over all connections; the compressed split measured "
        f"{number(total.compressed_ms, 1)} ms."
    ]


def _provenance(pipeline: PipelineSummary) -> list[str]:
    """Sentences about the images of the figures, and the cost of the controller's own work."""
    sentences = []
    if pipeline.images:
        uses = listed(tuple(_use(use) for use in pipeline.images))
        sentences.append(f"Of the data set, {uses}; these splits share no image.")
    sentences += [_worked(work) for work in pipeline.work]
    return sentences


def _use(use: ImagesUse) -> str:
    did = {
        "calibration": "calibrated the cuts",
        "decisions": "decided every step",
        "figures": "gave the accuracies before and after",
    }
    return f"{number(use.images)} {use.split} images {did.get(use.purpose, use.purpose)}"


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


def _less(share: float | None) -> str:
    if share is None:
        return "nothing to compare"
    return f"{percent(abs(share))} {'less' if share >= 0 else 'more'}"


def _accuracy(accuracy: Accuracy) -> str:
    return f"{percent(accuracy.value)} ({number(accuracy.images)} {accuracy.split} images)"


def _accordion(accordion: Accordion) -> list[str]:
    told = [download for download in accordion.downloads if not download.round]
    sentences = [_download(download) for download in told[:TOLD_DOWNLOADS]]
    if len(told) > TOLD_DOWNLOADS:
        sentences.append(f"The table has {number(len(told) - TOLD_DOWNLOADS)} more.")
    sentences += [_deliveries(ue) for ue in accordion.ues if ue.requests > 1]
    sentences += [_refusal(refusal) for refusal in accordion.refusals[:TOLD_DOWNLOADS]]
    sentences += [_step_down(change) for change in accordion.step_downs]
    if not accordion.downloads:
        sentences.append("A model was requested, but no download is in the captures.")
    ran = [step for step in accordion.configurations if step.accuracy and step.usable_s is not None]
    if ran:
        first, same = ran[0], [step for step in ran if step.ue == ran[0].ue]
        best = max(same, key=lambda step: step.accuracy.value if step.accuracy else 0)
        assert first.accuracy
        assert best.accuracy
        sentences.append(
            f"{first.ue} ran its first configuration {number((first.usable_s or 0) * 1e3)} ms "
            f"after its first SYN, at {_accuracy(first.accuracy)}; the best it ran reached "
            f"{_accuracy(best.accuracy)}."
        )
    return sentences


def _deliveries(ue: UeDeliveries) -> str:
    way = "streamed" if ue.admission == "stream" else "admitted by look-up"
    sentence = (
        f"{ue.ue} asked {number(ue.requests)} times, {way}: {number(ue.met)} answers were there "
        f"within the deadline"
    )
    if ue.useful_share_median is not None:
        sentence += (
            f", with {percent(ue.useful_share_median)} (median; lowest "
            f"{percent(ue.useful_share_min)}) of the blocks' bytes that its link could have "
            "carried by then"
        )
    return sentence + "."


def _refusal(refusal: RefusalSummary) -> str:
    who = "the server refused" if refusal.status else "it could not be done"
    return f"{refusal.ue}, step {refusal.step + 1}: {who}: {refusal.reason}."


def _step_down(change: StepDown) -> str:
    name = configuration_name(change.configuration)
    at = f", at {_accuracy(change.accuracy)}" if change.accuracy else ""
    return (
        f"{change.ue} went over to {name}, {number(change.macs)} multiply-accumulates, without "
        f"any transfer{at}."
    )


def _download(download: DownloadSummary) -> str:
    sentence = (
        f"{download.ue} received bytes {number(download.first_byte)} to "
        f"{number(download.end_byte)} of {download.model} from {download.server} in "
        f"{number(download.duration_ms, 1)} ms"
    )
    if download.deadline_ms is not None:
        kept = "within" if download.deadline_met else "missing"
        sentence += f", {kept} its deadline of {number(download.deadline_ms)} ms"
    if download.excess is not None:
        side = "above" if download.excess >= 0 else "below"
        sentence += (
            f", {percent(abs(download.excess))} {side} the least time that could be expected"
        )
    return sentence + "."
