"""Throughput over time: one panel per link, both directions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import style
from analysis.plots.palette import NO_UES, Palette


@dataclass(frozen=True)
class Span:
    """A stretch of time to shade and name, in seconds."""

    label: str
    begin_s: float
    end_s: float


ROW_POINTS = 10
"""From one row of the spans' names to the next."""


@style.styled
def plot_throughput(
    throughput: pl.DataFrame,
    capacity: pl.DataFrame,
    spans: Sequence[Span],
    palette: Palette = NO_UES,
) -> Figure:
    """Draw ``metrics.links.THROUGHPUT_SCHEMA``.

    ``capacity`` has ``link``, ``direction`` and ``mbit`` (null: not known), as probed, of links
    that did not vary. Both directions of a link share a panel; ``spans`` are shaded in all.
    """
    links = throughput["link"].unique(maintain_order=True).to_list()
    rows = max(len(links), 1)
    figure = style.new_figure(
        "Throughput over time",
        "bytes on the wire at the receiving end of each link; dotted: probed capacity, if steady",
        1.3 + 1.75 * rows,
    )
    panels = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    for panel, link in zip(panels, links, strict=False):
        here = throughput.filter(pl.col("link") == link)
        for index, part in enumerate(here.partition_by("direction", maintain_order=True)):
            panel.stairs(
                part["mbit_per_s"].to_numpy(),
                edges(part["t_s"].to_numpy()),
                baseline=None,
                color=palette.direction(part["label"][0], index),
                linestyle=style.LINES[index],
                linewidth=1.5,
                label=part["label"][0],
            )
            mine = (pl.col("link") == link) & (pl.col("direction") == part["direction"][0])
            for limit in capacity.filter(mine)["mbit"].drop_nulls():
                colour = palette.direction(part["label"][0], index)
                panel.axhline(limit, color=colour, linestyle=":", linewidth=1.2)
        panel.set_ylabel(f"{link}\nMbit/s")
        style.room_above(panel, 0.08)
        style.legend_beside(panel)
    for panel in panels:
        for span in merged(spans):
            panel.axvspan(span.begin_s, span.end_s, color="#777777", alpha=0.13, linewidth=0)
    _name_spans(panels[0], merged(spans))
    panels[-1].set_xlabel("seconds since the start of the run")
    return figure


def merged(spans: Sequence[Span]) -> list[Span]:
    """Join segments of the same name that overlap as one, in order of their beginnings."""
    whole: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.label, span.begin_s)):
        last = whole[-1] if whole else None
        if last is not None and last.label == span.label and span.begin_s <= last.end_s:
            whole[-1] = replace(last, end_s=max(last.end_s, span.end_s))
        else:
            whole.append(span)
    return sorted(whole, key=lambda span: span.begin_s)


def edges(begins_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Edges of equal bins from where they begin."""
    width = begins_s[1] - begins_s[0] if len(begins_s) > 1 else 1.0
    return np.append(begins_s, begins_s[-1] + width)


def _name_spans(panel: Axes, spans: Sequence[Span]) -> None:
    """Names above the panel, a row for each kind where they would meet; one name for neighbours of
    the same kind that lie close together."""
    begin, end = panel.get_xlim()
    room = 0.12 * (end - begin)
    middles: dict[str, list[float]] = {}
    for span in spans:
        middle = (span.begin_s + span.end_s) / 2
        named = middles.setdefault(span.label, [])
        if not named or middle - named[-1] >= room:
            named.append(middle)
    rows: list[list[float]] = []
    for label, named in middles.items():
        free = (n for n, taken in enumerate(rows) if _apart(named, taken, room))
        row = next(free, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row] += named
        for middle in named:
            panel.annotate(
                label,
                (middle, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2 + ROW_POINTS * row),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color="#444444",
            )


def _apart(some: Sequence[float], others: Sequence[float], room: float) -> bool:
    return all(abs(one - other) >= room for one in some for other in others)
