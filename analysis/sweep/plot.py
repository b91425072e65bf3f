"""One figure of a sweep against its parameters, with confidence intervals and every single run."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import style
from analysis.sweep.figure_words import figure_title, figure_unit, parameter_words
from analysis.sweep.table import CONFIDENCE, TRUSTED
from analysis.wording import agreeing, counted

MARKS = "os^vDP"
UPRIGHT_LETTERS = 60
"""Words along the x axis that are longer in all than this are written aslant."""
SPREAD = 0.18
"""Width over which the lines of an axis without numbers lie side by side, in categories."""


@style.styled
def plot_figure(
    table: pl.DataFrame, intervals: pl.DataFrame, parameters: Sequence[str], figure: str
) -> Figure:
    """The first parameter on the x axis, a series for every combination of the others that vary.

    Means are joined by a line where the parameter is a number. Large marks with bars are means with
    their intervals; small dots are the runs; crosses are runs whose links were not what they claim,
    which no mean counts.
    """
    x, *others = parameters
    others = [name for name in others if table[name].n_unique() > 1]
    is_number = table[x].dtype.is_numeric()
    runs = table.filter(pl.col(figure).is_not_null())
    intervals = intervals.filter(pl.col("figure") == figure)
    drawing = style.new_figure(figure_title(figure), _subtitle(runs, intervals), 4.6)
    axes = drawing.subplots()
    places = _places(table[x])
    lines = table.select(others).unique(maintain_order=True).rows() if others else [()]
    for index, values in enumerate(lines):
        pairs = zip(others, values, strict=True)
        chosen = [pl.lit(True), *(pl.col(name) == value for name, value in pairs)]
        shift = 0.0 if is_number else SPREAD * (index - (len(lines) - 1) / 2)
        at = {value: place + shift for value, place in places.items()}
        label = ", ".join(map(str, values))
        _means(axes, index, label, intervals.filter(chosen), at, joined=is_number)
        _runs(axes, index, runs.filter(chosen).select(x, figure, "verdict"), at)
    if not is_number:
        names = list(map(str, places))
        axes.set_xticks(list(places.values()), names)
        if sum(map(len, names)) > UPRIGHT_LETTERS:
            for written in axes.get_xticklabels():
                written.set(rotation=35, ha="right", rotation_mode="anchor")
    axes.set_xlabel(parameter_words(x))
    axes.set_ylabel(figure_unit(figure))
    axes.margins(x=0.08)
    style.room_above(axes, 0.1)
    if others:
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(1.0, 1.03),
            title=",\n".join(map(parameter_words, others)),
            title_fontsize=8.5,
        )
    return drawing


def _subtitle(runs: pl.DataFrame, intervals: pl.DataFrame) -> str:
    counts = sorted(set(intervals["runs"])) or [0]
    span = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    left_out = runs.filter(~pl.col("verdict").is_in(TRUSTED)).height
    bars = f"mean of {span} runs; bars: its {CONFIDENCE:.0%} interval (Student's t)"
    said = [bars if counts[-1] > 1 else "one run each, and so no intervals"]
    if left_out:
        verb = agreeing(left_out, "its", "their")
        said.append(f"crosses: {counted(left_out, 'run')} left out, {verb} links were disturbed")
    return "; ".join(said)


def _means(
    axes: Axes, index: int, label: str, rows: pl.DataFrame, at: Mapping[Any, float], joined: bool
) -> None:
    """``rows`` begin with the parameter of the x axis."""
    points = sorted(
        (at[row[0]], mean, math.nan if half_width is None else half_width)
        for *row, mean, half_width in rows.iter_rows()
    )  # fmt: skip
    place, mean, half_width = zip(*points, strict=True) if points else ((), (), ())
    axes.errorbar(
        *(place, mean, half_width),
        color=style.COLOURS[index % len(style.COLOURS)],
        linestyle=style.LINES[index % len(style.LINES)] if joined else "none",
        marker=MARKS[index % len(MARKS)],
        markersize=6,
        capsize=4,
        label=label,
    )


def _runs(axes: Axes, index: int, rows: pl.DataFrame, at: Mapping[Any, float]) -> None:
    """``rows``: parameter of the x axis, figure, verdict."""
    for value, figure, verdict in rows.iter_rows():
        axes.scatter(
            *(at[value], figure),
            color=style.COLOURS[index % len(style.COLOURS)],
            marker="." if verdict in TRUSTED else "x",
            s=25,
            alpha=0.6,
            zorder=3,
        )


def _places(values: pl.Series) -> dict[Any, float]:
    """Place the values on the x axis: numbers to scale, words one after the other."""
    each = values.unique(maintain_order=True).to_list()
    if values.dtype.is_numeric():
        return {value: float(value) for value in each}
    return {value: float(place) for place, value in enumerate(each)}
