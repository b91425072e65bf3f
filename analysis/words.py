"""The result of a run in plain words, with its numbers."""

from analysis.summary import (
    Accordion,
    Accuracy,
    AccuracyFloor,
    Download,
    Pipeline,
    Summary,
    Window,
)


def result_paragraphs(summary: Summary) -> list[list[str]]:
    """Paragraphs of sentences: reservations, the split model, Accordion.

    They say no more than the summary holds.
    """
    paragraphs = [_reservations(summary)]
    if summary.pipeline:
        paragraphs.append(_pipeline(summary.pipeline))
    if summary.accordion:
        paragraphs.append(_accordion(summary.accordion))
    if not summary.pipeline and not summary.accordion:
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


def _pipeline(pipeline: Pipeline) -> list[str]:
    sentences = [f"The model was split over {listed(pipeline.hosts)}."]
    windows = {window.label: window for window in pipeline.windows}
    before, after = windows.get("before"), windows.get("after")
    if before is None or after is None:
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


def _comparison(pipeline: Pipeline, before: Window, after: Window) -> list[str]:
    sentences = []
    if pipeline.bandwidth_reduction:
        total = pipeline.bandwidth_reduction.total
        sentences.append(
            f"Compressing the fringe layers took the bytes on the wire from "
            f"{number(total.before)} to {number(total.after)} per inference, all cuts together "
            f"({_less(total.share)})."
        )
        sentences.append(_against_raw_input(pipeline.raw_input_bytes, after))
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


def _floor(floor: AccuracyFloor) -> list[str]:
    """What was lost, and whether that kept to the floor: where the loop looked, and elsewhere."""
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


def _against_raw_input(raw_bytes: int, after: Window) -> str:
    """The comparison that splits of small models lose."""
    heaviest = max(after.cuts, key=lambda cut: cut.payload_bytes)
    verdict = "less" if heaviest.payload_bytes < raw_bytes else "not less"
    return (
        f"Sending the raw input, as the data set holds it, instead would put {number(raw_bytes)} "
        f"payload bytes per inference on each link; the heaviest compressed cut sends "
        f"{number(heaviest.payload_bytes)}, which is {verdict}."
    )


def _less(share: float | None) -> str:
    if share is None:
        return "nothing to compare"
    return f"{percent(abs(share))} {'less' if share >= 0 else 'more'}"


def _accuracy(accuracy: Accuracy) -> str:
    return f"{percent(accuracy.value)} ({number(accuracy.images)} {accuracy.split} images)"


def _accordion(accordion: Accordion) -> list[str]:
    sentences = [_download(download) for download in accordion.downloads]
    if not accordion.downloads:
        sentences.append("A model was requested, but no download is in the captures.")
    ran = [step for step in accordion.configurations if step.accuracy and step.usable_s is not None]
    if ran:
        first, best = ran[0], max(ran, key=lambda step: step.accuracy.value if step.accuracy else 0)
        assert first.accuracy
        assert best.accuracy
        sentences.append(
            f"{first.ue} ran its first configuration {number((first.usable_s or 0) * 1e3)} ms "
            f"after its first SYN, at {_accuracy(first.accuracy)}; the best it ran reached "
            f"{_accuracy(best.accuracy)}."
        )
    return sentences


def _download(download: Download) -> str:
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
