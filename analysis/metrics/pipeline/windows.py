"""A split model: windows before and after compression, Eq. 1 and Eq. 2, the loop's history."""

import polars as pl

from analysis.metrics.links.throughput import Links
from analysis.metrics.pipeline.baselines import baselines
from analysis.metrics.pipeline.breakdown import Latency
from analysis.metrics.pipeline.control import control_figures
from analysis.metrics.pipeline.latency import latencies_ns
from analysis.metrics.pipeline.reductions import (
    bandwidth_reductions,
    connection_bytes,
    connection_ms,
    latency_reductions,
)
from analysis.run.network import LinkDirection
from analysis.run.pipeline_view import partition_of
from analysis.run.reader import Run
from analysis.summary.pipeline import (
    AccuracyFloor,
    ImagesUse,
    IterationFigures,
    LinkLoad,
    PipelineSummary,
    StageCompute,
    Window,
    WorkSummary,
)
from analysis.summary.section import Accuracy, Distribution
from analysis.summary.traffic import CutTraffic
from stage_node.records.events import (
    FrozenHash,
    ImagesUsed,
    Iteration,
    LoopEnded,
    Measurement,
    WorkCost,
)
from stage_node.records.experiment import AccuracyTargets

_ROUNDING = 1e-9
"""0.98 - 0.01 is a little more than 0.97 in binary."""


def pipeline_figures(
    run: Run, frames: pl.DataFrame, links: Links, spent: Latency
) -> PipelineSummary:
    """Everything about one split model.

    ``run`` is its view of the run, ``frames`` its part of the joined
    table of ``analysis.tcp.join``.
    """
    partition = partition_of(run)
    windows = tuple(_window(run, frames, links, spent, m) for m in run.events_of(Measurement))
    cuts = len(partition.stages) - 1
    before, after = _connections(windows, "before"), _connections(windows, "after")
    ended = next(iter(run.events_of(LoopEnded)), None)
    hashes = next(iter(run.events_of(FrozenHash)), None)
    return PipelineSummary(
        name=partition.pipeline,
        hosts=partition.hosts,
        stages=tuple(tuple(layers) for layers in partition.stages),
        split_reason=partition.reason,
        fringe=partition.fringe,
        frozen_unchanged=hashes.before == hashes.after if hashes else None,
        frozen_sha256=hashes.before if hashes else None,
        raw_input_bytes=partition.raw_input_bytes,
        windows=windows,
        breakdown=spent.figures(spent.inferences),
        bandwidth_reduction=bandwidth_reductions(
            connection_bytes(before), connection_bytes(after), cuts
        ),
        latency_reduction=latency_reductions(connection_ms(before), connection_ms(after), cuts),
        baselines=baselines(run, links, windows, cuts, partition.raw_input_bytes),
        images=tuple(
            ImagesUse(purpose=used.purpose, split=used.split, images=used.images)
            for used in run.events_of(ImagesUsed)
        ),
        work=tuple(
            WorkSummary(
                work=cost.work,
                duration_s=cost.duration_s,
                cpu_s=cost.cpu_s,
                peak_memory_mib=cost.peak_memory_mib,
            )
            for cost in run.events_of(WorkCost)
        ),
        iterations=tuple(
            _iteration(step, partition.raw_input_bytes) for step in run.events_of(Iteration)
        ),
        accuracy_floor=_floor(run, run.targets.get(partition.pipeline, AccuracyTargets()), windows),
        control=control_figures(run, frames, connection_bytes(before), cuts),
        target_reached=ended.reached if ended else None,
        loop_reason=ended.reason if ended else None,
    )


def _connections(windows: tuple[Window, ...], label: str) -> tuple[CutTraffic, ...]:
    """The connections as the first window of a label measured them; empty if there is none."""
    return next((window.cuts for window in windows if window.label == label), ())


def window_frames(run: Run, frames: pl.DataFrame, window: Measurement) -> pl.DataFrame:
    """The joined activation frames that the source admitted in a window, over all cuts."""
    admitted = _admitted(run, window).select("sequence", "generation")
    activations = frames.filter(pl.col("kind") == "activation")
    return activations.join(admitted, on=["sequence", "generation"], how="semi")


def _admitted(run: Run, window: Measurement) -> pl.DataFrame:
    admitted = pl.col("t_admitted_ns")
    return run.results.filter(
        (pl.col("generation") == window.generation)
        & (admitted >= window.begin_ns)
        & (admitted <= window.end_ns)
    )


def _window(
    run: Run, frames: pl.DataFrame, links: Links, spent: Latency, window: Measurement
) -> Window:
    results = _admitted(run, window)
    inside = window_frames(run, frames, window)
    loads = links.loads(window.begin_ns, window.end_ns)
    cuts = inside.partition_by("cut", maintain_order=True)
    crossed = [step for cut in cuts for step in _path(run, cut)]
    return Window(
        label=window.label,
        generation=window.generation,
        rungs=window.rungs,
        duration_s=(window.end_ns - window.begin_ns) / 1e9,
        accuracy=Accuracy(value=window.accuracy, images=window.samples, split=window.split),
        inferences=int(results["samples"].sum()) if results.height else None,
        inferences_per_s=_rate(results),
        end_to_end=Distribution.of_ns(latencies_ns(results)),
        cuts=tuple(sorted((_cut(run, c) for c in cuts), key=lambda figures: figures.cut)),
        compute=_compute(run, results),
        breakdown=spent.figures(results),
        loads=loads,
        busiest=max(
            (load for load in loads if load.busy is not None),
            key=lambda load: load.busy or 0.0,
            default=None,
        ),
        slowest=_slowest(loads, links, crossed),
    )


def _path(run: Run, frames: pl.DataFrame) -> tuple[LinkDirection, ...]:
    """The links that the frames of one cut cross."""
    row = frames.row(0, named=True)
    return run.network.path(row["node"], row["peer"])


def _slowest(
    loads: tuple[LinkLoad, ...], links: Links, crossed: list[LinkDirection]
) -> LinkLoad | None:
    """Find the crossed link of least probed capacity; None unless all were probed."""
    capacities = [
        (capacity, load)
        for load, step, capacity in zip(loads, links.directions, links.capacity_mbit, strict=True)
        if step in crossed
    ]
    known = [(capacity, load) for capacity, load in capacities if capacity is not None]
    if len(known) < len(capacities):
        return None
    return min(known, key=lambda pair: pair[0], default=(0.0, None))[1]


def _floor(run: Run, targets: AccuracyTargets, windows: tuple[Window, ...]) -> AccuracyFloor | None:
    """The experiment's floor against what the loop decided on and what the windows measured."""
    if targets.min_accuracy is None and targets.max_accuracy_loss_points is None:
        return None
    steps = run.events_of(Iteration)
    ended = next(iter(run.events_of(LoopEnded)), None)
    left = [step for step in steps if ended and step.generation == ended.generation]
    if not left:
        return None
    before, after = _decided(steps[0]), _decided(left[-1])
    by_label = {window.label: window.accuracy for window in reversed(windows)}
    uncompressed, compressed = by_label.get("before"), by_label.get("after")
    return AccuracyFloor(
        max_loss_points=targets.max_accuracy_loss_points,
        min_accuracy=targets.min_accuracy,
        decided_before=before,
        decided_after=after,
        decided_held=_holds(targets, before, after),
        measured_before=uncompressed,
        measured_after=compressed,
        measured_held=_holds(targets, uncompressed, compressed)
        if uncompressed and compressed
        else None,
    )


def _holds(targets: AccuracyTargets, before: Accuracy, after: Accuracy) -> bool:
    least = targets.min_accuracy
    if least is None:
        least = before.value - (targets.max_accuracy_loss_points or 0.0) / 100
    return after.value >= least - _ROUNDING


def _rate(results: pl.DataFrame) -> float | None:
    """Images per second: those after the first frame over the time they took to come."""
    ordered = results.sort("t_result_ns")
    if ordered.height < 2:
        return None
    span_ns = ordered["t_result_ns"][-1] - ordered["t_result_ns"][0]
    return int(ordered["samples"][1:].sum()) * 1e9 / span_ns if span_ns else None


def _cut(run: Run, frames: pl.DataFrame) -> CutTraffic:
    images = int(frames["samples"].sum())
    row = frames.row(0, named=True)
    whole = frames.drop_nulls(["t_first_out_ns", "t_delivered_ns"])
    queued = whole.filter(pl.col("t_queued_ns") > 0)
    return CutTraffic(
        cut=row["cut"],
        source=row["node"],
        target=row["peer"],
        links=tuple(row["links"]),
        frames=frames.height,
        inferences=images,
        payload_bytes=int(frames["payload_bytes"].sum()) / images,
        frame_bytes=int((frames["end_byte"] - frames["first_byte"]).sum()) / images,
        wire_bytes=int(frames["wire_bytes"].sum()) / images,
        ack_wire_bytes=_answering_bytes(run, frames) / images,
        retransmitted_bytes=int(frames["retransmitted_bytes"].sum()),
        wait=_between(queued, "t_queued_ns", "t_first_out_ns"),
        transfer=_between(whole, "t_first_out_ns", "t_delivered_ns"),
        hop=_between(queued, "t_queued_ns", "t_delivered_ns"),
    )


def _answering_bytes(run: Run, frames: pl.DataFrame) -> int:
    """Bytes that came back to the sender while these frames were on the wire, its capture."""
    row = frames.row(0, named=True)
    path = _path(run, frames)
    begin_ns, end_ns = frames["t_first_out_ns"].min(), frames["t_delivered_ns"].max()
    if begin_ns is None or end_ns is None:
        return 0
    packets = run.captures[path[0].sender.interface].filter(
        (pl.col("sport") == row["peer_port"])
        & (pl.col("dport") == row["local_port"])
        & pl.col("t_ns").is_between(begin_ns, end_ns)
    )
    return int(packets["wirelen"].sum())


def _between(frames: pl.DataFrame, begin: str, end: str) -> Distribution | None:
    return Distribution.of_ns((frames[end] - frames[begin]).to_numpy())


def _compute(run: Run, results: pl.DataFrame) -> tuple[StageCompute, ...]:
    keys = results.select("sequence", "generation")
    rows = run.compute.join(keys, on=["sequence", "generation"], how="semi").sort("t_begin_ns")
    figures = []
    for part in rows.partition_by("node", maintain_order=True):
        time = _between(part, "t_begin_ns", "t_end_ns")
        if time:
            figures.append(StageCompute(host=part["node"][0], time=time))
    return tuple(figures)


def _decided(step: Iteration) -> Accuracy:
    """The loop judges by the validation split alone; see ``records.events.Iteration``."""
    return Accuracy(value=step.accuracy, images=step.samples, split="validation")


def _iteration(step: Iteration, raw_input_bytes: int) -> IterationFigures:
    return IterationFigures(
        index=step.index,
        cut=step.cut,
        generation=step.generation,
        rungs=step.rungs,
        accuracy=_decided(step),
        latency_ms_median=step.latency_ms_median,
        bytes_per_inference=step.bytes_per_inference,
        is_loss=tuple(size > raw_input_bytes for size in step.bytes_per_inference),
        outcome=step.outcome,
        reason=step.reason,
    )
