"""Accuracy against what it cost: bytes, and time."""

from collections.abc import Mapping

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from analysis.plots import style

COST_SCHEMA: dict[str, type[pl.DataType]] = {
    "series": pl.String,
    "name": pl.String,
    "bytes": pl.Float64,
    "t_s": pl.Float64,
    "accuracy": pl.Float64,
}
"""``bytes`` and ``t_s`` are what the accuracy cost; null: not known."""

_MARKS = ("o", "s", "^", "D", "v", "P", "*", "X")


@style.styled
def plot_accuracy(
    table: pl.DataFrame,
    subtitle: str,
    bytes_label: str,
    time_label: str,
    raw_bytes: float | None,
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Draw ``COST_SCHEMA``, bytes on a logarithmic scale; ``raw_bytes``: of the raw input;
    ``colours``: of the series."""
    figure = style.new_figure("Accuracy against bytes and time", subtitle, 4.2)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1, 1])
    for index, part in enumerate(table.partition_by("series", maintain_order=True)):
        colour = (colours or {}).get(part["series"][0], style.COLOURS[index % len(style.COLOURS)])
        mark = _MARKS[index % len(_MARKS)]
        for axes, column in ((left, "bytes"), (right, "t_s")):
            seen = part.drop_nulls(column).sort(column)
            axes.plot(
                *(seen[column], seen["accuracy"] * 100),
                color=colour,
                marker=mark,
                linestyle="" if column == "bytes" else style.LINES[index % len(style.LINES)],
                linewidth=0.9,
                markersize=5.5,
                label=part["series"][0],
            )
    sizes = [*table["bytes"].drop_nulls(), *([raw_bytes] if raw_bytes is not None else [])]
    _logarithmic(left, sizes)
    if raw_bytes is not None:
        left.axvline(raw_bytes, color=style.BLACK, linestyle="--", linewidth=1.1, label="raw input")
    left.set_xlabel(bytes_label)
    left.set_ylabel("accuracy, %")
    left.margins(y=0.12)
    right.set_xlabel(time_label)
    handles, labels = left.get_legend_handles_labels()
    style.legend_beside(right, handles=handles, labels=labels)
    return figure


def _logarithmic(axes: Axes, sizes: list[float]) -> None:
    axes.set_xscale("log")
    if sizes:
        style.log_ticks(axes.xaxis, min(sizes), max(sizes))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda size, _: f"{size / 1e3:g}k" if size >= 1e3 else f"{size:g}")
    )
