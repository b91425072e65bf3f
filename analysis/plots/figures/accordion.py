"""Accordion: accuracy over time while the model is being delivered."""

from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import style
from analysis.plots.palette import NO_UES, Palette

ACCURACY_SCHEMA: dict[str, type[pl.DataType]] = {
    "ue": pl.String,
    "model": pl.String,
    "configuration": pl.String,
    "file_bytes": pl.Int64,
    "usable_s": pl.Float64,
    "accuracy": pl.Float64,
    "split": pl.String,
}
"""One row per configuration that ran; ``usable_s``: end of its first inference."""


FAR = 1.3
"""Deadlines later than the last byte by more than this squeeze the download; they are named."""


@style.styled
def plot_accordion(
    accuracy: pl.DataFrame,
    delivery: pl.DataFrame,
    deadlines: pl.DataFrame,
    palette: Palette = NO_UES,
) -> Figure:
    """Accuracy of the best configuration able to run, and below it the bytes delivered.

    ``delivery`` has ``metrics.downloads.DELIVERY_SCHEMA``, ``deadlines`` columns ``ue``,
    ``model`` and ``t_s``: the latest moment the UE accepts.
    """
    splits = ", ".join(sorted(set(accuracy["split"]))) or "no"
    figure = style.new_figure(
        "Accuracy while the model arrives",
        f"accuracy on the {splits} split, from the end of each configuration's first inference; "
        "bytes in the UE's capture",
        5.4,
    )
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.2, 1])
    last_s = max([*delivery["t_s"], *accuracy["usable_s"]], default=1.0)
    near = pl.col("t_s") <= FAR * last_s
    end_s = max([last_s, *deadlines.filter(near)["t_s"]]) * 1.04
    clients = delivery.select("ue", "model").unique(maintain_order=True)
    several = clients.height > 1
    order = {ue: place for place, ue in enumerate(palette.ues)}
    clients = clients.sort(pl.col("ue").replace_strict(order, default=len(order)), "ue")
    for index, (ue, model) in enumerate(clients.iter_rows()):
        mine = (pl.col("ue") == ue) & (pl.col("model") == model)
        colour = palette.ue(ue)
        line = style.LINES[index % len(style.LINES)]
        name = f"{ue}: {model}" if delivery["model"].n_unique() > 1 else ue
        far = sorted(deadlines.filter(mine & ~near)["t_s"])
        if far:
            name += f"\ndeadline {_seconds(far)},\nbeyond the axis"
        _steps(top, accuracy.filter(mine), end_s, colour, line, name)
        if not several and accuracy.height:
            _name_steps(top, _ordered(accuracy.filter(mine)), end_s)
        arrived = delivery.filter(mine)
        bottom.step(
            *(arrived["t_s"], arrived["file_bytes"] / 1e3),
            where="post",
            color=colour,
            linestyle=line,
            label=name,
        )
        for t_s in deadlines.filter(mine & near)["t_s"]:
            for axes in (top, bottom):
                axes.axvline(
                    t_s, color=colour if several else style.BLACK, linestyle=":", linewidth=1.1
                )
            if several:
                continue  # of many UEs the colour says whose deadline it is
            bottom.annotate(
                "deadline",
                (t_s, 0.04),
                xycoords=("data", "axes fraction"),
                xytext=(3, 0),
                textcoords="offset points",
                fontsize=8,
            )
    for size in accuracy["file_bytes"].unique():
        bottom.axhline(size / 1e3, color=style.GREY, linewidth=0.7, linestyle=(0, (1, 2)))
    top.set_ylabel("accuracy, %")
    top.margins(y=0.18)
    top.set_xlim(0, end_s)
    if several or deadlines.filter(~near).height:
        style.legend_beside(top)
    bottom.set_ylabel("model at the UE, kB")
    style.room_above(bottom, 0.08)
    bottom.set_xlabel("seconds since the UE's first SYN")
    return figure


def _seconds(times_s: list[float]) -> str:
    return ", ".join(f"{t_s:.3g} s" for t_s in times_s)


def _steps(
    axes: Axes, accuracy: pl.DataFrame, end_s: float, colour: str, line: Any, name: str
) -> None:
    """The best configuration so far as a line; others that can run as hollow marks below it."""
    if not accuracy.height:
        return
    ordered = _ordered(accuracy)
    axes.step(
        [*ordered["usable_s"], end_s],
        [*ordered["best"], ordered["best"][-1]],
        where="post",
        color=colour,
        linestyle=line,
        label=name,
    )
    for better, face in ((True, colour), (False, "white")):
        part = ordered.filter(pl.col("better") == better)
        axes.plot(
            *(part["usable_s"], part["percent"]),
            linestyle="",
            marker="o",
            markersize=5,
            markerfacecolor=face,
            markeredgecolor=colour,
        )


def _ordered(accuracy: pl.DataFrame) -> pl.DataFrame:
    """Configurations in the order of time, with the best so far and whether each improved on it."""
    return accuracy.sort("usable_s").with_columns(
        percent=pl.col("accuracy") * 100,
        best=pl.col("accuracy").cum_max() * 100,
        better=(pl.col("accuracy") > pl.col("accuracy").cum_max().shift(1)).fill_null(value=True),
    )


def _name_steps(axes: Axes, ordered: pl.DataFrame, end_s: float) -> None:
    """Names of what improved, and of the last; empty if it would lie on another.

    Above and left of what improved: the line, which only rises, is never there. Below what did
    not: the line is above it.
    """
    named: list[tuple[float, float]] = []
    height = max(float(np.ptp(ordered["percent"].to_numpy())), 0.1)
    last = ordered["usable_s"][-1]
    for t_s, value, configuration, better in (
        ordered.filter(pl.col("better") | (pl.col("usable_s") == last))
        .select("usable_s", "percent", "configuration", "better")
        .iter_rows()
    ):
        if any(abs(t_s - t) < 0.2 * end_s and abs(value - v) < 0.07 * height for t, v in named):
            continue
        named.append((t_s, value))
        above = better and t_s > 0.15 * end_s  # else it would run out of the axes
        leftwards = above or t_s > 0.8 * end_s
        axes.annotate(
            f"{configuration}  {value:.1f} %",
            (t_s, value),
            xytext=(-3 if leftwards else 3, 4 if above else -6),
            textcoords="offset points",
            ha="right" if leftwards else "left",
            va="bottom" if above else "top",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},
        )
