"""Downloads that were repeated: each of them, and their median."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from analysis.plots import style
from analysis.plots.palette import Palette

DOWNLOADS_SCHEMA: dict[str, type[pl.DataType]] = {
    "ue": pl.String,
    "who": pl.String,
    "round": pl.Int64,
    "duration_ms": pl.Float64,
    "deadline_ms": pl.Float64,
}
"""One row per download; ``who``: the UE, and its step where there are several."""

FAR = 1.3
"""A deadline later than the longest download by more than this is named, not drawn."""


@style.styled
def plot_downloads(table: pl.DataFrame, palette: Palette) -> Figure:
    """Draw ``DOWNLOADS_SCHEMA``: a row for each UE and step, a dot for each download."""
    rows = table["who"].unique().sort().to_list()
    figure = style.new_figure(
        "Every download",
        "dots: rounds, the first above the last; line and number: median; dotted: deadline",
        1.3 + 0.5 * len(rows),
    )
    axes = figure.subplots()
    end_ms = FAR * float(table["duration_ms"].to_numpy().max())
    names = []
    for place, who in enumerate(rows):
        mine = table.filter(pl.col("who") == who).sort("round")
        colour = palette.ue(mine["ue"][0])
        heights = place + np.linspace(-0.28, 0.28, mine.height) if mine.height > 1 else [place]
        axes.scatter(mine["duration_ms"], heights, s=14, color=colour, alpha=0.75, zorder=3)
        middle = float(np.median(mine["duration_ms"].to_numpy()))
        axes.plot([middle] * 2, [place - 0.38, place + 0.38], color=style.BLACK, linewidth=1.4)
        deadlines = mine["deadline_ms"].drop_nulls().unique().sort()
        for deadline_ms in deadlines.filter(deadlines <= end_ms):
            limits = [place - 0.42, place + 0.42]
            axes.plot([deadline_ms] * 2, limits, color=colour, linestyle=":", linewidth=1.8)
        far = "".join(f"\ndeadline {ms:g} ms" for ms in deadlines.filter(deadlines > end_ms))
        names.append(f"{who}: {middle:.1f} ms{far}")
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_xlim(left=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("milliseconds from the first SYN to the last byte")
    return figure
