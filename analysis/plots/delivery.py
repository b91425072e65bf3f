"""Plots of a run's delivered models, with the tables they are drawn from."""

from collections.abc import Iterator

import polars as pl

from analysis.metrics.delivery.downloads import delivery
from analysis.metrics.delivery.transfers import Transfer
from analysis.metrics.links.sequence import sequence_table
from analysis.metrics.measure import Measured
from analysis.plots.figures.accordion import ACCURACY_SCHEMA, plot_accordion
from analysis.plots.figures.accuracy import COST_SCHEMA, plot_accuracy
from analysis.plots.figures.downloads import DOWNLOADS_SCHEMA, plot_downloads
from analysis.plots.figures.time_sequence import SEQUENCE_MARKS, drawable, plot_time_sequence
from analysis.plots.palette import palette_of
from analysis.plots.plot import Plot


def delivery_plots(measured: Measured) -> Iterator[Plot]:
    """Plots of accuracy while the model arrives, and of the largest download on the wire."""
    yield from _accordion(measured)
    yield from _downloads(measured)
    yield from _accuracy(measured)
    yield from _download_sequence(measured)


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
            if d.deadline_ms is not None and not d.round
        ],
        schema={"ue": pl.String, "model": pl.String, "t_s": pl.Float64},
        orient="row",
    )
    yield Plot(
        "accordion",
        "What the UE can run while the model arrives: each step is one more configuration "
        "(blocks per part of the network). Line: the best that can run; hollow: able to run, but "
        "no better. Dotted: sizes of the configurations, deadline." + _first_round(measured),
        plot_accordion(accuracy, delivery(measured.transfers), deadlines, palette_of(measured)),
        accuracy,
    )


def _first_round(measured: Measured) -> str:
    accordion = measured.summary.accordion
    rounds = max((d.round for d in accordion.downloads), default=0) if accordion else 0
    return " Of UEs that began anew and asked again, the first round." if rounds else ""


def _downloads(measured: Measured) -> Iterator[Plot]:
    """Every download of UEs that asked round after round."""
    accordion = measured.summary.accordion
    downloads = accordion.downloads if accordion else ()
    if not any(download.round for download in downloads):
        return
    several = len({download.step for download in downloads}) > 1
    table = pl.DataFrame(
        [
            (
                d.ue,
                f"{d.ue}, step {d.step + 1}" if several else d.ue,
                d.round + 1,
                d.duration_ms,
                d.deadline_ms,
            )
            for d in downloads
        ],
        schema=DOWNLOADS_SCHEMA,
        orient="row",
    )
    yield Plot(
        "downloads",
        "Every download of every round, from its first SYN to its last byte in the UE's capture, "
        "the first round above the last. Line: median; number: median.",
        plot_downloads(table, palette_of(measured)),
        table,
    )


def _accuracy(measured: Measured) -> Iterator[Plot]:
    accordion = measured.summary.accordion
    rows = [
        (
            f"{step.ue}: {step.model} ({step.accuracy.split})",
            "-".join(str(blocks) for blocks in step.configuration),
            step.file_bytes,
            step.usable_s,
            step.accuracy.value,
        )
        for step in (accordion.configurations if accordion else ())
        if step.accuracy is not None
    ]
    table = pl.DataFrame(rows, schema=COST_SCHEMA, orient="row")
    palette = palette_of(measured)
    if table.height:
        yield Plot(
            "accordion_accuracy",
            "Accuracy of each configuration, measured by the UE, against the bytes of the model's "
            "file that it needs and against the time from which it could be used.",
            plot_accuracy(
                table,
                "each mark is a configuration that the UE ran",
                "bytes of the model's file",
                "seconds since the UE's first SYN",
                None,
                {name: palette.ue(name.partition(":")[0]) for name in table["series"].unique()},
            ),
            table,
        )


def _download_sequence(measured: Measured) -> Iterator[Plot]:
    """The largest download."""
    if not measured.transfers:
        return
    transfer: Transfer = max(measured.transfers, key=lambda t: t.ends.receiver.payload_bytes)
    table = sequence_table(transfer.ends, 0, transfer.ends.receiver.payload_bytes)
    table, cut_off = drawable(table)
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
            palette_of(measured).ue(transfer.event.who),
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
