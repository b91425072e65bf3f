"""A few inferences on their way across the hosts: a time-space diagram."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon

from analysis.plots import style

WATERFALL_SCHEMA: dict[str, type[pl.DataType]] = {
    "sequence": pl.Int64,
    "lane": pl.Int64,
    "what": pl.String,
    "begin_ms": pl.Float64,
    "end_ms": pl.Float64,
    "arrive_begin_ms": pl.Float64,
    "arrive_end_ms": pl.Float64,
}
"""``lane`` counts hosts in the order of stages. ``what``: ``wait`` (at the host, begin to end),
``compute``, ``send`` (handed over, until its first byte leaves), ``wire`` (first to last byte out,
and their arrival at the next lane), ``result`` (its way back to lane 0, from begin to end)."""

_HEIGHT = 0.16


@style.styled
def plot_waterfall(table: pl.DataFrame, hosts: list[str], subtitle: str) -> Figure:
    """Draw ``WATERFALL_SCHEMA``: time to the right, hosts downwards, a colour for each frame."""
    figure = style.new_figure("Inferences on their way", subtitle, 1.9 + 0.95 * len(hosts))
    axes = figure.subplots()
    frames = table["sequence"].unique(maintain_order=True).to_list()
    for index, sequence in enumerate(frames):
        colour = style.COLOURS[index % len(style.COLOURS)]
        hatch = style.HATCHES[index % len(style.HATCHES)]
        for row in table.filter(pl.col("sequence") == sequence).iter_rows(named=True):
            _draw(axes, row, colour, hatch, index)
    axes.set_yticks(range(len(hosts)), hosts)
    axes.set_ylim(len(hosts) - 0.55, -0.55)
    axes.grid(visible=False, axis="y")
    for lane in range(len(hosts)):
        axes.axhline(lane, color="#BBBBBB", linewidth=0.7, zorder=0)
    axes.autoscale_view(scaley=False)
    axes.set_xlabel("milliseconds since the first of them was admitted")
    axes.legend(handles=_legend(frames), loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _draw(axes: Axes, row: dict[str, float], colour: str, hatch: str, index: int) -> None:
    lane, begin, end = row["lane"], row["begin_ms"], row["end_ms"]
    shift = (index % 2) * 0.06 - 0.03
    match row["what"]:
        case "compute":
            axes.barh(
                *(lane, end - begin),
                left=begin,
                height=2 * _HEIGHT,
                color=colour,
                hatch=hatch,
                edgecolor=colour,
                linewidth=1.2,
                zorder=3,
            )
        case "wait" | "send":
            line = ":" if row["what"] == "wait" else "--"
            axes.plot(
                [begin, end],
                [lane + shift] * 2,
                color=colour,
                linestyle=line,
                linewidth=2,
                zorder=2,
            )
        case "wire":
            corners = [
                (begin, lane + _HEIGHT),
                (end, lane + _HEIGHT),
                (row["arrive_end_ms"], lane + 1 - _HEIGHT),
                (row["arrive_begin_ms"], lane + 1 - _HEIGHT),
            ]
            axes.add_patch(
                Polygon(corners, facecolor=colour, alpha=0.35, hatch=hatch, edgecolor=colour)
            )
        case "result":
            axes.plot([begin, end], [lane, 0], color=colour, linestyle="-", linewidth=0.9)
            axes.plot([end], [0], color=colour, marker="v", markersize=6, zorder=4)


def _legend(frames: list[int]) -> list[Patch | Line2D]:
    colours = [
        Patch(
            facecolor=style.COLOURS[index % len(style.COLOURS)],
            hatch=style.HATCHES[index % len(style.HATCHES)],
            edgecolor="black",
            label=f"frame {sequence}",
        )
        for index, sequence in enumerate(frames)
    ]
    grey = style.GREY
    return [
        *colours,
        Patch(facecolor="white", edgecolor="black", label="bar: computing"),
        Patch(facecolor=grey, alpha=0.35, label="band: on the wire"),
        Line2D([], [], color=grey, linestyle=":", linewidth=2, label="waits for the stage"),
        Line2D([], [], color=grey, linestyle="--", linewidth=2, label="waits to leave"),
        Line2D([], [], color=grey, marker="v", linewidth=0.9, label="result is back"),
    ]
