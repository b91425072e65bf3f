"""Latency of each hop and end to end, before and after compression, or of one of them alone."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis.plots import style

_LOOKS = {"before": style.BLUE, "after": style.ORANGE}

LATENCY_SCHEMA: dict[str, type[pl.DataType]] = {
    "label": pl.String,
    "where": pl.String,
    "sequence": pl.Int64,
    "wait_ms": pl.Float64,
    "transfer_ms": pl.Float64,
    "total_ms": pl.Float64,
}
"""``where``: a hop (``ue1 → edge``) or ``end to end``; the latter has no parts."""

END_TO_END = "end to end"


@style.styled
def plot_latency(latency: pl.DataFrame) -> Figure:
    """Box plots of ``total_ms``: quartiles and median, whiskers from 5 to 95 %."""
    shown = [label for label in _LOOKS if (latency["label"] == label).any()]
    figure = style.new_figure(
        f"Latency of a frame, {' and '.join(shown)} compression",
        "hop: handed to the sender (ledger) → last byte delivered (receiver's capture); "
        "numbers below: medians",
        4.2,
    )
    hops = [w for w in latency["where"].unique(maintain_order=True) if w != END_TO_END]
    left, right = figure.subplots(1, 2, width_ratios=[max(len(hops), 1), 1.0])
    _boxes(left, latency, hops, shown)
    left.set_title("per hop")
    _boxes(right, latency, [END_TO_END], shown)
    right.set_title(END_TO_END)
    handles = [Patch(facecolor=_LOOKS[label], label=label) for label in shown]
    style.legend_beside(right, handles=handles)
    return figure


def _named(latency: pl.DataFrame, place: str, labels: list[str]) -> str:
    """The place, and below it the medians of its boxes."""
    at_place = latency.filter(pl.col("where") == place)
    groups = [at_place.filter(pl.col("label") == label)["total_ms"] for label in labels]
    return place + "\n" + " | ".join(f"{np.median(group):.1f}" for group in groups if len(group))


def _boxes(axes: Axes, latency: pl.DataFrame, places: list[str], labels: list[str]) -> None:
    for group, place in enumerate(places):
        for side, label in enumerate(labels):
            colour = _LOOKS[label]
            values = latency.filter((pl.col("where") == place) & (pl.col("label") == label))
            if not values.height:
                continue
            position = group + (side - (len(labels) - 1) / 2) * 0.4
            drawn = axes.boxplot(
                values["total_ms"].to_numpy(),
                positions=[position],
                widths=0.32,
                whis=(5, 95),
                showfliers=False,
                patch_artist=True,
                medianprops={"color": "black", "linewidth": 1.2},
                boxprops={"edgecolor": colour, "linewidth": 3},
                whiskerprops={"color": colour},
                capprops={"color": colour},
            )
            drawn["boxes"][0].set(facecolor=colour)
    axes.set_xticks(range(len(places)), [_named(latency, place, labels) for place in places])
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, max(len(places), 1) - 0.4)
    axes.set_ylabel("milliseconds")
    style.room_above(axes)
    axes.grid(visible=False, axis="x")
