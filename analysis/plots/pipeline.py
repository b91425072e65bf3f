"""Plots of a run's split model, with the tables they are drawn from."""

from collections.abc import Iterator

import polars as pl

from analysis.metrics.links.sequence import sequence_table
from analysis.metrics.measure import MeasuredPipeline
from analysis.metrics.pipeline.latency import LATENCY_MS
from analysis.metrics.pipeline.windows import window_frames
from analysis.plots.figures.accuracy import COST_SCHEMA, plot_accuracy
from analysis.plots.figures.breakdown import BREAKDOWN_SCHEMA, plot_breakdown
from analysis.plots.figures.iterations import ITERATION_SCHEMA, plot_iterations
from analysis.plots.figures.latency import END_TO_END, LATENCY_SCHEMA, plot_latency
from analysis.plots.figures.time_sequence import SEQUENCE_MARKS, drawable, plot_time_sequence
from analysis.plots.figures.waterfall import WATERFALL_SCHEMA, plot_waterfall
from analysis.plots.plot import Plot
from analysis.tcp.streams import Flow
from stage_node.records.events import Iteration, Measurement

FRAMES_SHOWN = 3

_ON_THE_WIRE = ("first_out", "last_out", "first_in", "delivered")


def pipeline_plots(measured: MeasuredPipeline) -> Iterator[Plot]:
    """Latency, where it went, the loop, frames on the wire."""
    yield from _latency(measured)
    yield from _breakdown(measured)
    yield from _waterfall(measured)
    yield from _iterations(measured)
    yield from _accuracy(measured)
    yield from _frame_sequence(measured)


def _latency(measured: MeasuredPipeline) -> Iterator[Plot]:
    table = latency_table(measured)
    if table.height:
        yield Plot(
            "latency",
            "Latency of each hop from the moment the sending stage handed the frame over to the "
            "delivery of its last byte, and of the whole inference from admission to result.",
            plot_latency(table),
            table,
        )


def latency_table(measured: MeasuredPipeline) -> pl.DataFrame:
    """Hop and end-to-end latency of every frame of every window (``LATENCY_SCHEMA``)."""
    parts = [pl.DataFrame(schema=LATENCY_SCHEMA)]
    for window in measured.run.events_of(Measurement):
        inside = window_frames(measured.run, measured.frames, window)
        parts.append(_hop_rows(inside.sort("cut", "sequence"), window.label))
        results = measured.run.results.join(
            inside.select("sequence", "generation").unique(),
            on=["sequence", "generation"],
            how="semi",
        )
        parts.append(
            results.select(
                pl.lit(window.label).alias("label"),
                pl.lit(END_TO_END).alias("where"),
                "sequence",
                pl.lit(None, pl.Float64).alias("wait_ms"),
                pl.lit(None, pl.Float64).alias("transfer_ms"),
                LATENCY_MS.alias("total_ms"),
            )
        )
    return pl.concat(parts)


def _hop_rows(frames: pl.DataFrame, label: str) -> pl.DataFrame:
    seen = frames.filter(pl.col("t_queued_ns") > 0).drop_nulls(["t_first_out_ns", "t_delivered_ns"])
    return seen.select(
        pl.lit(label).alias("label"),
        pl.concat_str("node", pl.lit(" → "), "peer").alias("where"),
        "sequence",
        ((pl.col("t_first_out_ns") - pl.col("t_queued_ns")) / 1e6).alias("wait_ms"),
        ((pl.col("t_delivered_ns") - pl.col("t_first_out_ns")) / 1e6).alias("transfer_ms"),
        ((pl.col("t_delivered_ns") - pl.col("t_queued_ns")) / 1e6).alias("total_ms"),
    )


def _breakdown(measured: MeasuredPipeline) -> Iterator[Plot]:
    """By window; of a run without any, over all frames."""
    pipeline = measured.figures
    if pipeline.breakdown is None:
        return
    windows = [(w.label, w.breakdown) for w in pipeline.windows if w.breakdown]
    shown = windows or [("all frames", pipeline.breakdown)]
    table = pl.DataFrame(
        [
            {"label": label, **place.model_dump()}
            for label, breakdown in shown
            for place in breakdown.places
        ],
        schema=BREAKDOWN_SCHEMA,
    )
    closing = (
        f"parts and end-to-end time agree within 1 % for {pipeline.breakdown.closed_share:.1%} "
        f"of {pipeline.breakdown.frames} frames"
    )
    yield Plot(
        "breakdown",
        "Where the time of a frame went, in each place of its way. Compute: the stage's model, "
        "coding, the host around them. Queueing: behind others, before a busy stage, at the sender "
        "while the link was busy, in the link's queue. Waiting for TCP: while the link was idle or "
        "a loss was repaired; and the result's way back over the management network.",
        plot_breakdown(table, closing),
        table,
    )


def _waterfall(measured: MeasuredPipeline) -> Iterator[Plot]:
    """Consecutive frames around the one of median latency, of the first window."""
    frames = measured.latency.inferences
    windows = measured.run.events_of(Measurement)
    label = "of the run"
    if windows:
        label = f"{windows[0].label} compression"
        admitted = pl.col("t_admitted_ns").is_between(windows[0].begin_ns, windows[0].end_ns)
        frames = frames.filter(admitted, pl.col("generation") == windows[0].generation)
    if not frames.height:
        return
    ordered = frames.sort("t_admitted_ns")
    distance = (ordered["total_ns"] - ordered["total_ns"].median()).abs()
    first = max(0, min((distance.arg_min() or 0) - 1, ordered.height - FRAMES_SHOWN))
    table = waterfall_table(measured, ordered[first : first + FRAMES_SHOWN])
    yield Plot(
        "waterfall",
        f"Consecutive frames {label}, around the one of median latency, on their way over the "
        "hosts. A band leaves its host from its first to its last byte (sender's capture) and "
        "reaches the next likewise (receiver's capture).",
        plot_waterfall(
            table,
            list(measured.figures.hosts),
            f"{table['sequence'].n_unique()} consecutive frames {label}; ledger and captures",
        ),
        table,
    )


def waterfall_table(measured: MeasuredPipeline, frames: pl.DataFrame) -> pl.DataFrame:
    """Time-lines of some frames (``WATERFALL_SCHEMA``); ``frames`` has ``INFERENCES_SCHEMA``."""
    key = ["generation", "sequence"]
    zero_ns = frames["t_admitted_ns"].min()
    places = measured.latency.places.join(frames, on=key, how="semi")
    hosts = places.filter(pl.col("order") % 2 == 0).with_columns(lane=pl.col("order") // 2)
    computed = hosts.join(
        measured.run.compute.rename({"node": "place", "t_begin_ns": "t_compute_ns"}),
        on=[*key, "place"],
    )
    sent = measured.frames.filter(pl.col("kind") == "activation").join(frames, on=key, how="semi")
    back = places.filter(pl.col("order") == pl.col("order").max()).with_columns(
        lane=pl.col("order") // 2
    )
    parts = (
        _spans(computed, "lane", "wait", "begin_ns", "t_compute_ns"),
        _spans(computed, "lane", "compute", "t_compute_ns", "end_ns"),
        _spans(sent, "cut", "send", "t_queued_ns", "t_first_out_ns"),
        _spans(
            sent,
            "cut",
            "wire",
            "t_first_out_ns",
            "t_last_out_ns",
            "t_first_in_ns",
            "t_delivered_ns",
        ),
        _spans(back, "lane", "result", "begin_ns", "end_ns"),
    )
    times = [name for name in WATERFALL_SCHEMA if name.endswith("_ms")]
    return (
        pl.concat(parts)
        .with_columns(((pl.col(name) - zero_ns) / 1e6).alias(name) for name in times)
        .sort("sequence", "begin_ms")
    )


def _spans(rows: pl.DataFrame, lane: str, what: str, *times: str) -> pl.DataFrame:
    """Rows of ``WATERFALL_SCHEMA``, their times still in ns of the run's clock."""
    names = [name for name in WATERFALL_SCHEMA if name.endswith("_ms")]
    columns = [*(pl.col(time) for time in times), *[pl.lit(None)] * (len(names) - len(times))]
    return rows.select(
        "sequence",
        pl.col(lane).cast(pl.Int64).alias("lane"),
        pl.lit(what).alias("what"),
        *(column.cast(pl.Int64).alias(name) for name, column in zip(names, columns, strict=True)),
    )


def _accuracy(measured: MeasuredPipeline) -> Iterator[Plot]:
    """The loop's steps, and the windows, against bytes and the time at which they were judged."""
    pipeline, run = measured.figures, measured.run
    steps = run.events_of(Iteration)
    if not steps:
        return
    rows: list[tuple[str, str, float | None, float, float]] = [
        (
            f"loop, {'rolled back' if step.outcome == 'rolled back' else 'kept'} (validation)",
            f"step {step.index}",
            sum(step.bytes_per_inference),
            (step.t_ns - run.begin_ns) / 1e9,
            step.accuracy,
        )
        for step in steps
    ]
    for window, event in zip(pipeline.windows, run.events_of(Measurement), strict=True):
        sizes = [cut.frame_bytes for cut in window.cuts]
        rows.append(
            (
                f"{window.label} compression ({window.accuracy.split})",
                window.label,
                sum(sizes) if sizes else None,
                (event.end_ns - run.begin_ns) / 1e9,
                window.accuracy.value,
            )
        )
    table = pl.DataFrame(rows, schema=COST_SCHEMA, orient="row")
    yield Plot(
        "accuracy",
        "What each step of the loop and each window kept of the accuracy, against the bytes of "
        "its frames, all cuts together, and against the time at which it was judged.",
        plot_accuracy(
            table,
            "the loop decides on validation images; the windows are on images it never sees",
            "bytes of frames per inference, all cuts",
            "seconds since the start of the run",
            pipeline.raw_input_bytes,
        ),
        table,
    )


def _iterations(measured: MeasuredPipeline) -> Iterator[Plot]:
    pipeline = measured.figures
    if not pipeline.iterations:
        return
    table = pl.DataFrame(
        [
            {
                "index": step.index,
                "cut": cut,
                "cut_name": f"{pipeline.hosts[cut]} → {pipeline.hosts[cut + 1]}",
                "bytes_per_inference": size,
                "accuracy": step.accuracy.value,
                "latency_ms_median": step.latency_ms_median,
                "outcome": step.outcome,
            }
            for step in pipeline.iterations
            for cut, size in enumerate(step.bytes_per_inference)
        ],
        schema=ITERATION_SCHEMA,
    )
    split = pipeline.iterations[0].accuracy.split
    yield Plot(
        "iterations",
        "Every iteration of the compression loop on the live pipeline. Bytes above the raw "
        "input's are a loss: sending the image itself would cost less.",
        plot_iterations(table, pipeline.raw_input_bytes, split),
        table,
    )


def _frame_sequence(measured: MeasuredPipeline) -> Iterator[Plot]:
    """Consecutive frames around the one of median latency, on the slowest cut, first window."""
    for window in measured.run.events_of(Measurement)[:1]:
        frames = window_frames(measured.run, measured.frames, window)
        whole = frames.drop_nulls(["t_first_out_ns", "t_delivered_ns"]).with_columns(
            ms=(pl.col("t_delivered_ns") - pl.col("t_first_out_ns")) / 1e6
        )
        if not whole.height:
            return
        cuts = whole.group_by("cut").agg(pl.col("ms").median()).sort("ms")
        ordered = whole.filter(pl.col("cut") == cuts["cut"][-1]).sort("first_byte")
        distance = (ordered["ms"] - cuts["ms"][-1]).abs()
        middle = distance.arg_min() or 0
        first = max(0, min(middle - FRAMES_SHOWN // 2, ordered.height - FRAMES_SHOWN))
        yield _frames_plot(measured, ordered[first : first + FRAMES_SHOWN], window.label)


def _frames_plot(measured: MeasuredPipeline, frames: pl.DataFrame, label: str) -> Plot:
    row = frames.row(0, named=True)
    flow = Flow(row["local_ip"], row["local_port"], row["peer_ip"], row["peer_port"])
    ends = measured.wire.two_ends(flow, row["t_end_ns"])
    assert ends is not None  # these frames were joined from the same stream
    table = sequence_table(ends, row["first_byte"], frames["end_byte"][-1])
    table, cut_off = drawable(table)
    marks = dict(
        zip(
            (f"end of frame {sequence}" for sequence in frames["sequence"]),
            frames["end_byte"],
            strict=True,
        )
    )
    return Plot(
        "time_sequence_frames",
        f"Time-sequence of {frames.height} consecutive activation frames {label} compression, on "
        "the connection whose transfers take longest, around the frame of median latency. "
        + SEQUENCE_MARKS
        + cut_off,
        plot_time_sequence(
            table,
            f"Time-sequence of activations: {row['node']} → {row['peer']}",
            f"{label} compression, cut {row['cut']}; captures of both ends",
            marks,
        ),
        table,
    )
