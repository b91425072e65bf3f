"""Differences of runs: each with its interval, in percent of the first run's."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from analysis.plots import style

_MARKS = ("o", "s", "^", "D", "v", "P")


@style.styled
def plot_differences(table: pl.DataFrame) -> Figure:
    """Draw those rows of ``compare.comparison.COMPARISON_SCHEMA`` that have an interval."""
    rows = table.drop_nulls(["low", "high"]).filter(pl.col("first_value") != 0)
    names = rows.select(pl.concat_str("section", pl.lit(": "), "figure"))["section"]
    labels = names.unique(maintain_order=True).to_list()
    figure = style.new_figure(
        "Differences and their 95 % intervals",
        f"in percent of {table['first'][0]}",
        1.4 + 0.24 * len(labels),
    )
    axes = figure.subplots()
    others = rows["other"].unique(maintain_order=True).to_list()
    for index, other in enumerate(others):
        part = rows.with_columns(label=names).filter(pl.col("other") == other)
        scale = 100 / part["first_value"].abs()
        at = [labels.index(label) + 0.25 * (index - (len(others) - 1) / 2) / len(others)
              for label in part["label"]]  # fmt: skip
        middle = (part["difference"] * scale).to_numpy()
        # A percentile interval of draws need not hold the difference itself.
        below = np.maximum(middle - (part["low"] * scale).to_numpy(), 0)
        above = np.maximum((part["high"] * scale).to_numpy() - middle, 0)
        axes.errorbar(
            *(middle, at),
            xerr=[below, above],
            fmt=_MARKS[index % len(_MARKS)],
            color=style.COLOURS[index % len(style.COLOURS)],
            markersize=4.5,
            capsize=2.5,
            label=other,
        )
    axes.axvline(0, color=style.BLACK, linewidth=1)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlabel("difference, %")
    if len(others) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
