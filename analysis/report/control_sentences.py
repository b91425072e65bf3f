"""Sentences about automatic control, and the modes that it is held against."""

from analysis.summary.control import Control, ControlMode
from analysis.summary.section import Accuracy
from analysis.wording import compared, counted, number, percent, points


def control_sentences(control: Control) -> list[str]:
    """Say how each mode did, and what automatic control lost to the oracle."""
    bound = f"{number(control.bound_ms)} ms"
    sentences = [_mode(mode, bound) for mode in control.modes]
    automatic, oracle = control.mode("automatic"), control.mode("oracle")
    if automatic and oracle and automatic.accuracy and oracle.accuracy:
        ours, theirs = automatic.accuracy.value, oracle.accuracy.value
        judged = points(theirs, ours, words=("below", "above"), digits=2)
        sentences.append(
            "Automatic control's accuracy is the oracle's."
            if judged == "the same"
            else f"Automatic control's accuracy is {judged} the oracle's."
        )
    if automatic and automatic.bandwidth_reduction:
        total = automatic.bandwidth_reduction.total
        sentences.append(
            f"Automatic control put {number(total.after)} bytes per inference on the wire, all "
            f"cuts together, and the uncompressed split {number(total.before)} "
            f"({compared(total.before, total.after)})."
        )
    return sentences


def _mode(mode: ControlMode, bound: str) -> str:
    """Say which share of the frames a mode kept within the bound, and at what accuracy."""
    share = f"{percent(mode.within_share)} of the frames due"
    sentence = f"With rungs that stay ({mode.mode}) {share} were within {bound}"
    if mode.mode in ("automatic", "oracle"):
        who = "Automatic control" if mode.mode == "automatic" else "The oracle"
        switches = counted(mode.switches, "switch")
        sentence = f"{who} kept {share} within {bound}, with {switches}"
    if not mode.frames:
        return f"{sentence}: of {counted(mode.frames_due, 'frame')} due NONE was served."
    if mode.accuracy is None:
        return f"{sentence}; it served too little for an accuracy."
    return f"{sentence}, at an accuracy of {_accuracy_of_passes(mode.accuracy, mode.passes)}."


def _accuracy_of_passes(accuracy: Accuracy, passes: int) -> str:
    images = f"{accuracy.split} image"
    return (
        f"{percent(accuracy.value, 2)} ({counted(passes, 'pass')} over "
        f"{counted(accuracy.images, images)})"
    )
