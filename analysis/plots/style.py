"""One style for all plots: readable in grey, by the colour-blind, on paper and on a screen.

Colours are Okabe and Ito's (2008); series that share an axis also differ in line style, marker or
hatch. Every saved plot carries the run's fidelity verdict in its footer and lies beside the CSV
file of its data.
"""

import math
import textwrap
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
import polars as pl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from analysis.summary.network import FidelitySummary

P = ParamSpec("P")

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, BLACK, GREY = "#56B4E9", "#CC79A7", "#000000", "#666666"
RED = "#B00020"
"""Of what was sent again, and of nothing else."""

COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "++++")

WIDTH_INCHES = 8.0
PNG_DPI = 110
SUBTITLE_LETTERS = 113
LINE_INCHES = 0.16
MARGIN = 0.01
"""Of the width, free on either side."""

_RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "hatch.linewidth": 0.6,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "concertina",
}

_VERDICT_COLOURS = {"pass": GREEN, "warn": "#9A6A00", "fail": "#B00020", "unknown": GREY}


def styled(plot: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the house style, whatever matplotlib's settings are."""

    @wraps(plot)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(_RC):
            return plot(*args, **kwargs)

    return wrapper


def new_figure(title: str, subtitle: str, height_inches: float) -> Figure:
    """An empty figure with its two lines of heading; room is left for the footer."""
    lines = textwrap.wrap(subtitle, SUBTITLE_LETTERS) or [""]
    more = LINE_INCHES * (len(lines) - 1)
    height_inches += more
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), dpi=PNG_DPI, layout="constrained")
    head, foot = (0.62 + more) / height_inches, 0.24 / height_inches
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(MARGIN, foot, 1 - 2 * MARGIN, 1 - head - foot))  # type: ignore[call-arg]
    figure.text(0.01, 1 - 0.12 / height_inches, title, va="top", fontsize=12, fontweight="bold")
    below = 1 - 0.37 / height_inches
    figure.text(0.01, below, "\n".join(lines), va="top", fontsize=9, color="#444444")
    return figure


def put_name(figure: Figure, name: str) -> None:
    """Write the owner of a figure opposite its title."""
    top = 1 - 0.12 / figure.get_figheight()
    figure.text(
        *(0.99, top), name, va="top", ha="right", fontsize=12, fontweight="bold", color=BLUE
    )


def room_above(axes: Axes, share: float = 0.15) -> None:
    """Begin the y axis at 0 and leave a share of its height free above the data."""
    top = axes.dataLim.y1
    axes.set_ylim(0, top * (1 + share) if top > 0 else 1)


def legend_beside(axes: Axes, **options: Any) -> None:
    """A legend to the right of the axes, where no data can be."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.03), **options)


def legend_above(axes: Axes, columns: int, *, right: bool = False) -> None:
    """A legend above the axes, in ``columns`` columns, at the left or right."""
    axes.legend(
        loc="lower right" if right else "lower left",
        bbox_to_anchor=(1.0 if right else 0.0, 1.0),
        ncols=columns,
        borderaxespad=0.1,
    )


def log_ticks(axis: Axis, low: float, high: float) -> None:
    """Label a logarithmic axis so that several values between ``low`` and ``high`` are named."""
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if high < 10 * low:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))


def plain_numbers() -> FuncFormatter:
    """Labels of a logarithmic axis: 0.1, 1, 10."""

    def label(value: float, _: object) -> str:
        exponent = math.floor(math.log10(value) + 1e-9) if value > 0 else 0
        leading = round(value / 10**exponent)
        return f"{value:g}" if leading == 1 else ""

    return FuncFormatter(label)


def save(
    figure: Figure, data: pl.DataFrame, path: Path, run_name: str, fidelity: FidelitySummary
) -> None:
    """Write ``path`` (SVG), a PNG and the data (CSV) beside it, verdict and clock in the footer."""
    height = figure.get_figheight()
    with matplotlib.rc_context(_RC):
        figure.text(
            0.01,
            0.09 / height,
            f"fidelity: {fidelity.verdict.upper()}, {fidelity.clock} clock",
            fontsize=8,
            fontweight="bold",
            color=_VERDICT_COLOURS[fidelity.verdict],
            va="center",
        )
        figure.text(0.99, 0.09 / height, run_name, fontsize=8, color=GREY, ha="right", va="center")
        # Laid out once, and not again (with a drawing for nothing) by every backend.
        if engine := figure.get_layout_engine():
            engine.execute(figure)
            engine.execute(figure)  # once more: labels that a first layout moved
        figure.set_layout_engine(None)
        # Without the date, the same run gives the same file.
        figure.savefig(path, format="svg", metadata={"Date": None}, dpi=PNG_DPI)
        figure.savefig(path.with_suffix(".png"), dpi=PNG_DPI)
    data.write_csv(path.with_suffix(".csv"))
