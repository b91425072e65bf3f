"""tcptrace-style time-sequence of one transfer, as both ends saw it."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from analysis.plots import style

MAX_SEGMENTS = 4000
"""More would be a drawing of megabytes in which no segment can be told from the next."""

SEQUENCE_MARKS = (
    "Bars: segments from their first to their last byte, when they left (triangles, sender's "
    "capture) and when they arrived (circles, receiver's capture); of many, only some bear the "
    "mark. Crosses: sent again."
)
"""What a drawing shows, for its caption."""

_LOOKS = {
    "sent": (style.BLUE, "-", 2.2),
    "received": (style.GREEN, "-", 2.2),
    "retransmitted": (style.VERMILLION, "-", 3.0),
}


@style.styled
def plot_time_sequence(
    table: pl.DataFrame, title: str, subtitle: str, marks: Mapping[str, int]
) -> Figure:
    """Draw ``metrics.sequence.SEQUENCE_SCHEMA``; ``marks`` names stream offsets (frame ends, ...).

    Each segment is a vertical bar from its first to its last byte at the moment it was seen; at
    most about 60 of a kind carry their marker, all that were sent again do. The horizontal
    distance from ``sent`` to ``received`` is queueing, serialisation and propagation.
    """
    figure = style.new_figure(title, subtitle, 4.6)
    axes = figure.subplots()
    for what, (colour, line, width) in _LOOKS.items():
        part = table.filter(pl.col("what") == what)
        bars = np.column_stack(
            [part["t_ms"], part["first_byte"] / 1e3, part["t_ms"], part["end_byte"] / 1e3]
        ).reshape(-1, 2, 2)
        if not len(bars):
            continue
        lines = LineCollection(list(bars), colors=colour, linestyles=line, linewidths=width)
        axes.add_collection(lines)
        # Sent and received also differ in shape, for those who see no colours.
        marker = {"sent": "^", "received": "o", "retransmitted": "X"}[what]
        axes.plot(
            *(part["t_ms"], part["end_byte"] / 1e3),
            linestyle="",
            marker=marker,
            markersize=8 if what == "retransmitted" else 3.2,
            markerfacecolor="white" if what == "received" else colour,
            markeredgecolor=colour,
            markevery=1 if what == "retransmitted" else max(1, part.height // 60),
            label=what,
        )
    acks = table.filter(pl.col("what") == "acknowledged")
    axes.step(
        *(acks["t_ms"], acks["end_byte"] / 1e3),
        where="post",
        color=style.GREY,
        linestyle="--",
        linewidth=1.1,
        label="acknowledged (at sender)",
    )
    for offset in marks.values():
        axes.axhline(offset / 1e3, color=style.BLACK, linestyle=":", linewidth=0.8)
    for names, offset in _merged(marks, 0.05 * _height(table)):
        axes.annotate(
            names,
            (1.0, offset / 1e3),
            xycoords=("axes fraction", "data"),
            xytext=(-3, 2),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
    axes.autoscale_view()
    axes.set_xlabel("milliseconds since the first byte left")
    axes.set_ylabel("offset in the stream, kB")
    axes.legend(loc="upper left", frameon=True, framealpha=1.0, edgecolor="none")
    return figure


def drawable(table: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """The table, or its beginning where it is too long to draw, and words that say so."""
    segments = table.filter(pl.col("what") == "sent")
    if segments.height <= MAX_SEGMENTS:
        return table, ""
    end_ms = segments.sort("t_ms")["t_ms"][MAX_SEGMENTS]
    return table.filter(pl.col("t_ms") <= end_ms), f" Only the first {MAX_SEGMENTS} segments."


def _merged(marks: Mapping[str, int], apart_bytes: float) -> list[tuple[str, int]]:
    """Names and where to write them; those that would lie on each other share the highest place."""
    merged: list[tuple[str, int]] = []
    for name, offset in sorted(marks.items(), key=lambda mark: mark[1]):
        if merged and offset - merged[-1][1] < apart_bytes:
            merged[-1] = (f"{merged[-1][0]}, {name}", offset)
        else:
            merged.append((name, offset))
    return merged


def _height(table: pl.DataFrame) -> int:
    """Bytes from the lowest to the highest offset shown."""
    if not table.height:
        return 1
    return int(table["end_byte"].to_numpy().max() - table["first_byte"].to_numpy().min())
