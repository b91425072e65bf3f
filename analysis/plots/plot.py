"""A plot as the report takes it: what is drawn, from which table, and what to say of it."""

from dataclasses import dataclass

import polars as pl
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """A figure, the table it shows, its file name without ending, and a line for the report."""

    name: str
    caption: str
    figure: Figure
    data: pl.DataFrame
