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
    "mark. Crosses, red: sent again."
)
"""What a drawing shows, for its caption."""

_LOOKS = {
    "sent": ("^", 3.2, 1),
    "received": ("o", 3.2, 1),
    "retransmitted": ("x", 6.5, 2),
}
"""Mark, its size, and its place above or below the others."""

_NAMES = {"retransmitted": "sent again", "received": "received", "sent": "sent"}


@style.styled
def plot_time_sequence(
    table: pl.DataFrame,
    title: str,
    subtitle: str,
    marks: Mapping[str, int],
    colour: str = style.BLUE,
) -> Figure:
    """Draw ``metrics.sequence.SEQUENCE_SCHEMA``; ``marks`` names stream offsets (frame ends, ...),
    ``colour`` is that of what was sent.

    Each segment is a vertical bar from its first to its last byte at the moment it was seen; at
    most about 60 of a kind carry their marker, all that were sent again do. The horizontal
    distance from ``sent`` to ``received`` is queueing, serialisation and propagation.
    """
    figure = style.new_figure(title, subtitle, 4.6)
    axes = figure.subplots()
    colours = {"sent": colour, "received": style.BLACK, "retransmitted": style.RED}
    for what, (marker, size, above) in _LOOKS.items():
        part = table.filter(pl.col("what") == what)
        bars = np.column_stack(
            [part["t_ms"], part["first_byte"] / 1e3, part["t_ms"], part["end_byte"] / 1e3]
        ).reshape(-1, 2, 2)
        if not len(bars):
            continue
        lines = LineCollection(list(bars), colors=colours[what], linewidths=2.2, zorder=2 + above)
        axes.add_collection(lines)
        # What was sent, received and sent again also differs in shape, for who sees no colours.
        axes.plot(
            *(part["t_ms"], part["end_byte"] / 1e3),
            linestyle="",
            marker=marker,
            markersize=size,
            markerfacecolor="white" if what == "received" else colours[what],
            markeredgecolor=colours[what],
            markeredgewidth=1.6 if what == "retransmitted" else 0.9,
            zorder=2.1 + above,
            markevery=1 if what == "retransmitted" else max(1, part.height // 60),
            label=_NAMES[what],
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
            xytext=(4, 0),
            textcoords="offset points",
            ha="left",
            va="center",
            fontsize=8,
        )
    axes.autoscale_view()
    axes.set_xlabel("milliseconds since the first byte left")
    axes.set_ylabel("offset in the stream, kB")
    style.legend_above(axes, 4)
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
