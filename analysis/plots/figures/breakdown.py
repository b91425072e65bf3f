"""The time of a frame, place by place: stacked bars, before and after compression."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import style

BREAKDOWN_SCHEMA: dict[str, type[pl.DataType]] = {
    "label": pl.String,
    "place": pl.String,
    "compute_ms": pl.Float64,
    "serialisation_ms": pl.Float64,
    "queueing_ms": pl.Float64,
    "propagation_ms": pl.Float64,
    "transport_ms": pl.Float64,
    "total_ms": pl.Float64,
}
"""Means over the frames of a window; one row per window and place, in the order of the way."""

_LOOKS = {
    "compute_ms": (style.BLUE, "", "compute"),
    "serialisation_ms": (style.ORANGE, "////", "serialisation"),
    "queueing_ms": (style.VERMILLION, "xxxx", "queueing"),
    "propagation_ms": (style.SKY, "....", "propagation"),
    "transport_ms": (style.PURPLE, "\\\\\\\\", "waiting for TCP"),
}


@style.styled
def plot_breakdown(parts: pl.DataFrame, closing: str) -> Figure:
    """Draw ``BREAKDOWN_SCHEMA``; ``closing`` says how well the parts add up."""
    places = parts["place"].unique(maintain_order=True).to_list()
    labels = parts["label"].unique(maintain_order=True).to_list()
    rows = len(places) * len(labels)
    figure = style.new_figure(
        "Where the time of a frame went",
        f"means; {closing}",
        1.6 + 0.27 * rows + 0.35 * len(labels),
    )
    upper, lower = figure.subplots(
        2, 1, sharex=True, height_ratios=[max(rows, 1), 1.2 * len(labels)]
    )
    _bars(upper, parts, places, labels)
    sums = parts.group_by("label", maintain_order=True).agg(
        pl.col(name).sum() for name in (*_LOOKS, "total_ms")
    )
    whole = sums.with_columns(place=pl.lit("end to end"))
    _bars(lower, whole, ["end to end"], labels)
    lower.set_xlim(0, 1.1 * float(whole["total_ms"].to_numpy().max()))
    lower.set_xlabel("milliseconds")
    handles, names = upper.get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    upper.legend(
        unique.values(), unique.keys(), loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(unique)
    )
    return figure


def _bars(axes: Axes, parts: pl.DataFrame, places: list[str], labels: list[str]) -> None:
    """One bar per place and window; the total at its end."""
    names, positions = [], []
    for place_index, place in enumerate(places):
        for label_index, label in enumerate(labels):
            row = parts.filter(pl.col("place") == place, pl.col("label") == label)
            if not row.height:
                continue
            at = place_index * (len(labels) + 0.6) + label_index
            left = 0.0
            for column, (colour, hatch, name) in _LOOKS.items():
                width = row[column][0]
                axes.barh(
                    *(at, width),
                    left=left,
                    height=0.82,
                    color=colour,
                    hatch=hatch,
                    edgecolor="black",
                    linewidth=0.5,
                    label=name,
                )
                left += width
            axes.annotate(
                f"{row['total_ms'][0]:.1f}",
                (left, at),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
            names.append(f"{place}  {label}" if len(labels) > 1 else place)
            positions.append(at)
    axes.set_yticks(positions, names, fontsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
