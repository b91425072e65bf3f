"""Control of the split model on links that vary: each mode's frames, rungs and accuracy."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from analysis.metrics.pipeline.latency import LATENCY_MS, latencies_ns
from analysis.metrics.pipeline.reductions import bandwidth_reductions
from analysis.run.reader import Run
from analysis.summary.control import ChosenRungs, Control, ControlMode
from analysis.summary.network import LinkReplay
from analysis.summary.section import Accuracy, Distribution
from stage_node.records.events import ControlBegins, ImagesUsed, LinkChanged, RungChosen

SPLIT = "validation"
"""Control serves the validation split alone; see ``controller.control.automatic``."""


def control_figures(
    run: Run, frames: pl.DataFrame, uncompressed_bytes: Sequence[float], cuts: int
) -> Control | None:
    """Everything about control; None if the run had none.

    ``frames`` is the table of ``analysis.tcp.join``, ``uncompressed_bytes`` the wire
    bytes per inference of each of the ``cuts`` connections, as measured before control began.
    """
    modes = run.events_of(ControlBegins)
    if not modes:
        return None
    return Control(
        bound_ms=modes[0].bound_ms,
        modes=tuple(_mode(run, frames, uncompressed_bytes, cuts, mode) for mode in modes),
    )


def mode_frames(run: Run, mode: ControlBegins) -> pl.DataFrame:
    """Frames admitted while a mode was served: ``t_s`` since its beginning, ``latency_ms``, and
    the columns of the results ledger."""
    admitted = pl.col("t_admitted_ns")
    inside = (admitted >= mode.begin_ns) & (admitted < mode.end_ns)
    return (
        run.results.filter(inside)
        .sort("t_admitted_ns")
        .with_columns(
            t_s=(admitted - mode.begin_ns) / 1e9,
            latency_ms=LATENCY_MS,
        )
    )


def mode_choices(run: Run, mode: ControlBegins) -> tuple[RungChosen, ...]:
    """Choices of a mode, the first at its beginning."""
    return tuple(
        event for event in run.events_of(RungChosen) if mode.begin_ns <= event.t_ns < mode.end_ns
    )


def replay_figures(run: Run) -> tuple[LinkReplay, ...]:
    """Changes of the links as they were applied, by direction."""
    changes = run.events_of(LinkChanged)
    ways = dict.fromkeys((change.link, change.direction) for change in changes)
    return tuple(
        _replay([change for change in changes if (change.link, change.direction) == way])
        for way in ways
    )


def _replay(changes: list[LinkChanged]) -> LinkReplay:
    late = np.array([change.late_ms for change in changes])
    rates = [change.rate_mbit for change in changes]
    return LinkReplay(
        link=changes[0].link,
        direction="a_to_b" if changes[0].direction == "a_to_b" else "b_to_a",
        changes=len(changes),
        late_ms_median=float(np.median(late)),
        late_ms_p95=float(np.percentile(late, 95)),
        late_ms_max=float(late.max()),
        rate_mbit_min=min(rates),
        rate_mbit_max=max(rates),
    )


def whole_passes(frames: pl.DataFrame, images: int) -> tuple[pl.DataFrame, int]:
    """Select frames, in the order of admission, that make whole passes over a split of ``images``,
    and how many: wherever the first begins, each image is in every pass once."""
    until = frames["samples"].cum_sum()
    passes = int(frames["samples"].sum()) // images
    return frames.filter(until <= passes * images), passes


def _accuracy(run: Run, frames: pl.DataFrame) -> tuple[Accuracy | None, int]:
    """Accuracy over whole passes of the split, and their number."""
    images = next((used.images for used in run.events_of(ImagesUsed) if used.split == SPLIT), 0)
    if not images:
        return None, 0
    counted, passes = whole_passes(frames, images)
    if not passes:
        return None, 0
    share = int(counted["correct"].sum()) / (passes * images)
    return Accuracy(value=share, images=images, split=SPLIT), passes


def wire_bytes(results: pl.DataFrame, frames: pl.DataFrame, cuts: int) -> tuple[float, ...] | None:
    """Bytes per inference on each connection, for the frames of some results."""
    served = results.select("sequence", "generation")
    sent = (
        frames.filter(pl.col("kind") == "activation")
        .join(served, on=["sequence", "generation"], how="semi")
        .group_by("cut")
        .agg(pl.col("wire_bytes").sum(), pl.col("samples").sum())
        .sort("cut")
    )
    if sent.height != cuts:
        return None
    return tuple((sent["wire_bytes"] / sent["samples"]).to_list())


def _mode(
    run: Run,
    sent: pl.DataFrame,
    uncompressed_bytes: Sequence[float],
    cuts: int,
    mode: ControlBegins,
) -> ControlMode:
    frames, choices = mode_frames(run, mode), mode_choices(run, mode)
    within = frames.filter(pl.col("latency_ms") <= mode.bound_ms).height
    duration_s = (mode.end_ns - mode.begin_ns) / 1e9
    rhythm = round(duration_s * 1e3 / mode.frame_ms) if mode.frame_ms else 0
    due = max(rhythm, frames.height)
    accuracy, passes = _accuracy(run, frames)
    sizes = wire_bytes(frames, sent, cuts)
    forecasts = {choice.generation: choice.accuracy for choice in choices}
    foretold = [forecasts[each] for each in frames["generation"] if each in forecasts]
    return ControlMode(
        mode=mode.mode,
        begin_s=(mode.begin_ns - run.begin_ns) / 1e9,
        duration_s=duration_s,
        frames=frames.height,
        frames_due=due,
        frames_within=within,
        within_share=within / due if due else None,
        passes=passes,
        accuracy=accuracy,
        accuracy_forecast=float(np.mean(foretold)) if foretold else None,
        wire_bytes=sizes,
        bandwidth_reduction=bandwidth_reductions(uncompressed_bytes, sizes or (), cuts),
        switches=max(0, len(choices) - 1),
        latency=Distribution.of_ns(latencies_ns(frames)),
        choices=tuple(_choice(mode, choice) for choice in choices),
    )


def _choice(mode: ControlBegins, choice: RungChosen) -> ChosenRungs:
    return ChosenRungs(
        t_s=(choice.t_ns - mode.begin_ns) / 1e9,
        generation=choice.generation,
        rungs=choice.rungs,
        accuracy_forecast=choice.accuracy,
        rate_mbit=choice.rate_mbit,
        forecast_ms=choice.forecast_ms,
        reason=choice.reason,
    )
