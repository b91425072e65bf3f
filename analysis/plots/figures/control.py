"""Automatic control over time, and beside what it is compared with."""

from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import style

TIMELINE_SCHEMA: dict[str, type[pl.DataType]] = {
    "mode": pl.String,
    "what": pl.String,
    "t_s": pl.Float64,
    "value": pl.Float64,
}
"""``what``: ``latency_ms`` of a frame, ``accuracy`` foretold from here on, or ``mbit <link>``
applied from here on; ``t_s`` since the mode began."""

AT_THE_FOOT = 0.04
"""Of the axes' height: where a mode without an accuracy is drawn, hollow."""

COMPARISON_SCHEMA: dict[str, type[pl.DataType]] = {
    "mode": pl.String,
    "within_share": pl.Float64,
    "accuracy": pl.Float64,
    "accuracy_forecast": pl.Float64,
    "switches": pl.Int64,
}


@style.styled
def plot_control(timeline: pl.DataFrame, mode: str, other: str | None, bound_ms: float) -> Figure:
    """Rate, rungs and latency while ``mode`` was served; the rungs of ``other`` beside it."""
    here = timeline.filter(pl.col("mode") == mode)
    end_s = float(here["t_s"].to_numpy().max())
    figure = style.new_figure(
        "Control on a link that varies",
        f"mode {mode}: applied rate, accuracy of the rungs chosen, latency of every frame",
        7.0,
    )
    rate, rungs, latency = figure.subplots(3, 1, sharex=True)
    links = here.filter(pl.col("what").str.starts_with("mbit "))
    for index, part in enumerate(links.partition_by("what", maintain_order=True)):
        label = part["what"][0].removeprefix("mbit ")
        _steps(rate, part, end_s, style.COLOURS[index], style.LINES[index], label)
    rate.set_ylabel("applied rate\nMbit/s")
    style.room_above(rate, 0.1)
    names = [mode] + ([other] if other else [])
    for index, name in enumerate(names):
        part = timeline.filter((pl.col("mode") == name) & (pl.col("what") == "accuracy"))
        part = part.with_columns(pl.col("value") * 100)
        _steps(rungs, part, end_s, style.COLOURS[index], style.LINES[index], name)
    rungs.set_ylabel("accuracy foretold\nof the rungs, %")
    _up_to_100(rungs)
    _latencies(latency, here.filter(pl.col("what") == "latency_ms"), bound_ms)
    latency.set_xlabel("seconds since the mode began")
    for panel in (rate, rungs, latency):
        if panel.get_legend_handles_labels()[0]:
            panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.03))
    return figure


@style.styled
def plot_comparison(table: pl.DataFrame) -> Figure:
    """Every mode by its share within the bound and the accuracy of what it served."""
    figure = style.new_figure(
        "Control against fixed rungs and an oracle",
        "each mode on the same trace; up and to the right is better",
        4.4,
    )
    axes = figure.subplots()
    marks = ("o", "*", "s", "^", "v", "D", "P", "X")
    shown = table.filter(pl.col("within_share").is_not_null())
    for index, row in enumerate(shown.iter_rows(named=True)):
        known = row["accuracy"] is not None
        axes.scatter(
            *([100 * row["within_share"]], [100 * row["accuracy"] if known else AT_THE_FOOT]),
            transform=axes.transData if known else axes.get_xaxis_transform(),
            facecolor=style.COLOURS[index % len(style.COLOURS)] if known else "none",
            edgecolor=style.COLOURS[index % len(style.COLOURS)],
            marker=marks[index % len(marks)],
            s=130 if marks[index % len(marks)] == "*" else 65,
            label=f"{row['mode']}\nswitches: {row['switches']}"
            + ("" if known else "\nno whole pass: no accuracy"),
            zorder=2,
        )
    axes.margins(0.12)
    _up_to_100(axes)
    axes.axvline(95, color=style.GREY, linestyle=":", linewidth=1.2)
    axes.set_xlabel("frames within the bound, % of those due; dotted: 95 %")
    axes.set_ylabel("accuracy of the inferences served, %")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.03), labelspacing=0.7)
    return figure


def _up_to_100(axes: Axes) -> None:
    """Room about percentages, also about one alone, but none beyond 100 %."""
    low, high = axes.dataLim.intervaly
    if not low <= high:  # nothing is drawn
        return
    room = max(0.15 * (high - low), 0.5)
    axes.set_ylim(low - room, min(high + room, 100.05))


def _steps(
    axes: Axes, part: pl.DataFrame, end_s: float, colour: str, line: Any, label: str
) -> None:
    """Values that hold until the next one, the last until the end."""
    t_s = [*part["t_s"], end_s]
    values = [*part["value"], *part["value"][-1:]]
    axes.step(
        *(t_s, values),
        where="post",
        color=colour,
        linestyle=line,
        linewidth=1.3,
        label=label,
    )


def _latencies(axes: Axes, frames: pl.DataFrame, bound_ms: float) -> None:
    late = frames["value"] > bound_ms
    for part, colour, mark, label in (
        (frames.filter(~late), style.BLUE, "o", "within"),
        (frames.filter(late), style.VERMILLION, "x", "late"),
    ):
        if part.height:
            axes.scatter(
                *(part["t_s"], part["value"]), color=colour, marker=mark, s=14, label=label
            )
    axes.axhline(bound_ms, color=style.BLACK, linestyle="--", linewidth=1.2, label="bound")
    style.room_above(axes, 0.1)
    axes.set_ylabel("latency, ms")
