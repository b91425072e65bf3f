"""Which plots a run has, with the tables they are drawn from."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
from matplotlib.figure import Figure

from analysis.measure import Measured
from analysis.metrics.control import mode_choices, mode_frames
from analysis.metrics.downloads import Transfer, delivery
from analysis.metrics.pipeline import window_frames
from analysis.metrics.sequence import sequence_table
from analysis.plots.accordion import ACCURACY_SCHEMA, plot_accordion
from analysis.plots.control import (
    COMPARISON_SCHEMA,
    TIMELINE_SCHEMA,
    plot_comparison,
    plot_control,
)
from analysis.plots.iterations import ITERATION_SCHEMA, plot_iterations
from analysis.plots.latency import END_TO_END, LATENCY_SCHEMA, plot_latency
from analysis.plots.throughput import Span, plot_throughput
from analysis.plots.time_sequence import MAX_SEGMENTS, SEQUENCE_MARKS, plot_time_sequence
from analysis.rundir import Run
from analysis.streams import Flow
from stage_node.events import ControlBegins, LinkChanged, Measurement

FRAMES_SHOWN = 3


@dataclass(frozen=True)
class Plot:
    """A figure, the table it shows, its file name without ending, and a line for the report."""

    name: str
    caption: str
    figure: Figure
    data: pl.DataFrame


def plots(measured: Measured) -> Iterator[Plot]:
    """Every plot for which the run has data."""
    if measured.throughput.height:
        yield _throughput(measured)
    yield from _frame_sequence(measured)
    yield from _latency(measured)
    yield from _iterations(measured)
    yield from _control(measured)
    yield from _accordion(measured)
    yield from _download_sequence(measured)


def _throughput(measured: Measured) -> Plot:
    capacity = pl.DataFrame(
        [(x.link, x.direction, x.probed_capacity_mbit) for x in measured.summary.links],
        schema={"link": pl.String, "direction": pl.String, "mbit": pl.Float64},
        orient="row",
    )
    return Plot(
        "throughput",
        "Throughput at the receiving end of each link. Shaded: the windows and downloads that the "
        "figures are taken from. Dotted: the capacity that the probe measured.",
        plot_throughput(measured.throughput, capacity, _spans(measured)),
        measured.throughput,
    )


def _spans(measured: Measured) -> list[Span]:
    zero_ns = measured.run.begin_ns
    windows = [(w.label, w.begin_ns, w.end_ns) for w in measured.run.events_of(Measurement)]
    downloads = [("download", t.begin_ns, t.end_ns) for t in measured.transfers]
    return [
        Span(label, (begin - zero_ns) / 1e9, (end - zero_ns) / 1e9)
        for label, begin, end in (*windows, *downloads)
    ]


def _latency(measured: Measured) -> Iterator[Plot]:
    table = latency_table(measured)
    if table.height:
        yield Plot(
            "latency",
            "Latency of each hop from the moment the sending stage handed the frame over to the "
            "delivery of its last byte, and of the whole inference from admission to result.",
            plot_latency(table),
            table,
        )


def latency_table(measured: Measured) -> pl.DataFrame:
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
        total = (pl.col("t_result_ns") - pl.col("t_admitted_ns")) / 1e6
        parts.append(
            results.select(
                pl.lit(window.label).alias("label"),
                pl.lit(END_TO_END).alias("where"),
                "sequence",
                pl.lit(None, pl.Float64).alias("wait_ms"),
                pl.lit(None, pl.Float64).alias("transfer_ms"),
                total.alias("total_ms"),
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


def _iterations(measured: Measured) -> Iterator[Plot]:
    pipeline = measured.summary.pipeline
    if pipeline is None or not pipeline.iterations:
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
        "Every iteration of the compression loop on the live pipeline. Bytes above those of the "
        "raw input are a loss: sending the image itself would cost less.",
        plot_iterations(table, pipeline.raw_input_bytes, split),
        table,
    )


def _control(measured: Measured) -> Iterator[Plot]:
    pipeline = measured.summary.pipeline
    if pipeline is None or pipeline.control is None:
        return
    control = pipeline.control
    timeline = control_timeline(measured.run)
    shown = control.mode("automatic") or control.modes[0]
    other = "oracle" if control.mode("oracle") and shown.mode != "oracle" else None
    if timeline.filter(pl.col("mode") == shown.mode).height:
        yield Plot(
            "control",
            f"Mode {shown.mode}: the rates applied to the links that vary, what the ladders "
            "foretell of the rungs chosen, and the latency of every frame from admission to result "
            "against the bound.",
            plot_control(timeline, shown.mode, other, control.bound_ms),
            timeline,
        )
    if len(control.modes) > 1:
        table = pl.DataFrame(
            [
                {
                    "mode": mode.mode,
                    "within_share": mode.within_share,
                    "accuracy": mode.accuracy.value if mode.accuracy else None,
                    "accuracy_forecast": mode.accuracy_forecast,
                    "switches": mode.switches,
                }
                for mode in control.modes
            ],
            schema=COMPARISON_SCHEMA,
        )
        yield Plot(
            "control_comparison",
            "Every mode of control on the same trace: frames within the bound, of all that were "
            "due, against the accuracy of the inferences that were served.",
            plot_comparison(table),
            table,
        )


def control_timeline(run: Run) -> pl.DataFrame:
    """Frames, choices and link changes of every mode (``TIMELINE_SCHEMA``)."""
    rows: list[tuple[str, str, float, float]] = []
    for mode in run.events_of(ControlBegins):
        changes = run.events_of(LinkChanged)
        rows += [
            (
                mode.mode,
                f"mbit {change.link}",
                (change.t_ns - mode.begin_ns) / 1e9,
                change.rate_mbit,
            )
            for change in changes
            if mode.begin_ns <= change.t_ns < mode.end_ns
        ]
        rows += [
            (mode.mode, "accuracy", (choice.t_ns - mode.begin_ns) / 1e9, choice.accuracy)
            for choice in mode_choices(run, mode)
        ]
        frames = mode_frames(run, mode)
        rows += [
            (mode.mode, "latency_ms", t_s, latency_ms)
            for t_s, latency_ms in frames.select("t_s", "latency_ms").iter_rows()
        ]
    return pl.DataFrame(rows, schema=TIMELINE_SCHEMA, orient="row")


def _accordion(measured: Measured) -> Iterator[Plot]:
    accordion = measured.summary.accordion
    if accordion is None or not measured.transfers:
        return
    rows = [
        {
            "ue": step.ue,
            "model": step.model,
            "configuration": "-".join(str(blocks) for blocks in step.configuration),
            "file_bytes": step.file_bytes,
            "usable_s": step.usable_s,
            "accuracy": step.accuracy.value,
            "split": step.accuracy.split,
        }
        for step in accordion.configurations
        if step.accuracy is not None
    ]
    accuracy = pl.DataFrame(rows, schema=ACCURACY_SCHEMA)
    deadlines = pl.DataFrame(
        [
            (d.ue, d.model, d.begin_s + d.deadline_ms / 1e3)
            for d in accordion.downloads
            if d.deadline_ms is not None
        ],
        schema={"ue": pl.String, "model": pl.String, "t_s": pl.Float64},
        orient="row",
    )
    yield Plot(
        "accordion",
        "What the UE can run while the model arrives: each step is one more configuration "
        "(blocks per part of the network). Line: the best that can run; hollow: able to run, but "
        "no better. Dotted: sizes of the configurations, deadline.",
        plot_accordion(accuracy, delivery(measured.transfers), deadlines),
        accuracy,
    )


def _download_sequence(measured: Measured) -> Iterator[Plot]:
    """The largest download."""
    if not measured.transfers:
        return
    transfer: Transfer = max(measured.transfers, key=lambda t: t.ends.receiver.payload_bytes)
    table = sequence_table(transfer.ends, 0, transfer.ends.receiver.payload_bytes)
    table, cut_off = _drawable(table)
    server = measured.run.network.owner(transfer.ends.flow.src)
    yield Plot(
        "time_sequence_download",
        f"Time-sequence of the largest download. {SEQUENCE_MARKS} Dotted: ends of configurations "
        "(blocks per part of the network)." + cut_off,
        plot_time_sequence(
            table,
            f"Time-sequence of a download: {server} → {transfer.event.who}",
            f"{transfer.event.model}, bytes {transfer.event.first_byte} to "
            f"{transfer.event.end_byte} of the file; captures of both ends",
            dict(_block_ends(measured, transfer)),
        ),
        table,
    )


def _block_ends(measured: Measured, transfer: Transfer) -> Iterator[tuple[str, int]]:
    accordion = measured.summary.accordion
    for step in accordion.configurations if accordion else ():
        mine = (step.ue, step.model) == (transfer.event.who, transfer.event.model)
        if mine and transfer.event.first_byte < step.file_bytes <= transfer.event.end_byte:
            name = "-".join(str(blocks) for blocks in step.configuration)
            yield name, transfer.header_bytes + step.file_bytes - transfer.event.first_byte


def _frame_sequence(measured: Measured) -> Iterator[Plot]:
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


def _frames_plot(measured: Measured, frames: pl.DataFrame, label: str) -> Plot:
    row = frames.row(0, named=True)
    flow = Flow(row["local_ip"], row["local_port"], row["peer_ip"], row["peer_port"])
    ends = measured.wire.two_ends(flow, row["t_end_ns"])
    assert ends is not None  # these frames were joined from the same stream
    table = sequence_table(ends, row["first_byte"], frames["end_byte"][-1])
    table, cut_off = _drawable(table)
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


def _drawable(table: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """The table, or its beginning where it is too long to draw, and words that say so."""
    segments = table.filter(pl.col("what") == "sent")
    if segments.height <= MAX_SEGMENTS:
        return table, ""
    end_ms = segments.sort("t_ms")["t_ms"][MAX_SEGMENTS]
    return table.filter(pl.col("t_ms") <= end_ms), f" Only the first {MAX_SEGMENTS} segments."
