"""Single packets: how long each was on a link, and how far apart they left it."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from analysis.plots import style
from analysis.plots.palette import NO_UES, Palette

DISTRIBUTION_SCHEMA: dict[str, type[pl.DataType]] = {
    "link": pl.String,
    "label": pl.String,
    "share": pl.Float64,
    "ms": pl.Float64,
}
"""Quantiles: ``share`` of the packets took at most, or were at most so far apart."""

IDEAL_SCHEMA: dict[str, type[pl.DataType]] = {
    "link": pl.String,
    "label": pl.String,
    "ms": pl.Float64,
}

_Shares = npt.NDArray[np.float64]


@style.styled
def plot_delays(quantiles: pl.DataFrame, ideal: pl.DataFrame, palette: Palette = NO_UES) -> Figure:
    """Cumulative distribution of one-way delays, a panel for each link; dotted: propagation."""
    figure = style.new_figure(
        "One-way delay of packets",
        "from the capture before a link to the one behind it; dotted: propagation, the least "
        "without its serialisation",
        _height(quantiles),
    )
    for panel, part in _panels(figure, quantiles):
        _lines(panel, part, ideal, palette, lambda share: share)
        panel.set_ylim(0, 1.02)
        style.legend_above(panel, 1, right=True)
        panel.set_ylabel("share of packets")
    return figure


@style.styled
def plot_departures(
    quantiles: pl.DataFrame, ideal: pl.DataFrame, palette: Palette = NO_UES
) -> Figure:
    """Complementary distribution of the time between departures, against the ideal link."""
    figure = style.new_figure(
        "Time between packets that leave a link",
        "full-sized packets that found the link busy, receiver's capture; dotted: an ideal link "
        "sends one each so often",
        _height(quantiles),
    )
    for panel, part in _panels(figure, quantiles):
        _lines(panel, part, ideal, palette, lambda share: 1 - share)
        panel.set_yscale("log")
        panel.set_ylim(1e-4, 1.5)
        panel.yaxis.set_major_formatter(style.plain_numbers())
        panel.yaxis.set_minor_locator(NullLocator())
        style.legend_above(panel, 1, right=True)
        panel.set_ylabel("share further apart")
    return figure


def _height(quantiles: pl.DataFrame) -> float:
    rows = -(-max(quantiles["link"].n_unique(), 1) // 2)
    return 1.1 + 2.5 * rows


def _panels(figure: Figure, quantiles: pl.DataFrame) -> list[tuple[Axes, pl.DataFrame]]:
    parts = quantiles.partition_by("link", maintain_order=True)
    rows, columns = -(-len(parts) // 2), min(len(parts), 2)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels[len(parts) :]:
        panel.set_axis_off()
    for panel, part in zip(panels, parts, strict=False):
        panel.set_title(part["link"][0], fontsize=9)
        panel.set_xscale("log")
        panel.set_xlabel("milliseconds")
    return list(zip(panels, parts, strict=False))


def _lines(
    panel: Axes,
    part: pl.DataFrame,
    ideal: pl.DataFrame,
    palette: Palette,
    height: Callable[[_Shares], _Shares],
) -> None:
    for index, line in enumerate(part.partition_by("label", maintain_order=True)):
        label = line["label"][0]
        colour = palette.direction(label, index)
        panel.step(
            *(line["ms"], height(line["share"].to_numpy())),
            where="post",
            color=colour,
            linestyle=style.LINES[index],
            label=label,
        )
        for ms in ideal.filter(pl.col("label") == label, pl.col("link") == part["link"][0])["ms"]:
            panel.axvline(ms, color=colour, linestyle=":", linewidth=1.2)
    low, high = (float(f(part["ms"].to_numpy())) for f in (np.min, np.max))
    panel.set_xlim(max(low, 1e-3) / 1.3, high * 1.3)
    style.log_ticks(panel.xaxis, *panel.get_xlim())
