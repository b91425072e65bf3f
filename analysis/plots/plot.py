"""A plot as the report takes it: what is drawn, from which table, and what to say of it."""

from dataclasses import dataclass, replace

import polars as pl
from matplotlib.figure import Figure

from analysis.plots import style


@dataclass(frozen=True)
class Plot:
    """A figure, the table it shows, its file name without ending, and a line for the report."""

    name: str
    caption: str
    figure: Figure
    data: pl.DataFrame


def named(plot: Plot, whose: str) -> Plot:
    """Return the plot marked as one of several: in its name, the figure's title and the line."""
    style.put_name(plot.figure, whose)
    return replace(plot, name=f"{plot.name}-{whose}", caption=f"{whose}: {plot.caption}")
