"""History of the optimisation loop: accuracy, bytes per cut and latency, step by step."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis.plots import style

ITERATION_SCHEMA: dict[str, type[pl.DataType]] = {
    "index": pl.Int64,
    "cut": pl.Int64,
    "cut_name": pl.String,
    "bytes_per_inference": pl.Float64,
    "accuracy": pl.Float64,
    "latency_ms_median": pl.Float64,
    "outcome": pl.String,
}
"""One row per iteration and cut; accuracy, latency and outcome are the iteration's."""

_OUTCOMES = {
    "baseline": ("s", style.BLACK),
    "kept": ("o", style.BLUE),
    "rolled back": ("X", style.VERMILLION),
    "target met": ("*", style.GREEN),
}


@style.styled
def plot_iterations(iterations: pl.DataFrame, raw_input_bytes: int, split: str) -> Figure:
    """Draw ``ITERATION_SCHEMA``; ``split`` says where the accuracy was measured."""
    figure = style.new_figure(
        "The loop: what each step cost and saved",
        f"accuracy on the {split} split; bytes of frames per image, as the senders counted them; "
        "faint crosses: rolled back",
        6.4,
    )
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[1.1, 1.4, 0.9])
    steps = iterations.unique("index", keep="first").sort("index")
    _accuracy(top, steps)
    _bytes(middle, iterations, raw_input_bytes)
    bottom.plot(
        *(steps["index"], steps["latency_ms_median"]), color=style.BLUE, marker="o", markersize=4
    )
    style.room_above(bottom)
    bottom.set_ylabel("median latency, ms")
    bottom.set_xlabel("iteration")
    bottom.xaxis.get_major_locator().set_params(integer=True)
    return figure


def _accuracy(axes: Axes, steps: pl.DataFrame) -> None:
    good = steps.filter(pl.col("outcome") != "rolled back")
    axes.plot(*(good["index"], good["accuracy"] * 100), color=style.GREY, linewidth=1, zorder=1)
    for outcome, (marker, colour) in _OUTCOMES.items():
        part = steps.filter(pl.col("outcome") == outcome)
        if part.height:
            axes.scatter(
                *(part["index"], part["accuracy"] * 100),
                marker=marker,
                color=colour,
                s=110 if marker == "*" else 45,
                label=outcome,
                zorder=2,
            )
    axes.set_ylabel("accuracy, %")
    axes.margins(y=0.2)
    axes.set_ylim(top=min(axes.get_ylim()[1], 100.5))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _bytes(axes: Axes, iterations: pl.DataFrame, raw_input_bytes: int) -> None:
    """Every cut's bytes on a logarithmic scale; what is above the raw input is a loss."""
    for nth, part in enumerate(iterations.sort("cut", "index").partition_by("cut")):
        colour = style.COLOURS[nth % len(style.COLOURS)]
        good = part.filter(pl.col("outcome") != "rolled back")
        axes.plot(
            *(good["index"], good["bytes_per_inference"]),
            color=colour,
            marker="o",
            markersize=4,
            label=part["cut_name"][0],
        )
        back = part.filter(pl.col("outcome") == "rolled back")
        axes.scatter(
            *(back["index"], back["bytes_per_inference"]), color=colour, marker="X", s=40, alpha=0.5
        )
    if iterations["cut"].n_unique() > 1:
        total = (
            iterations.filter(pl.col("outcome") != "rolled back")
            .group_by("index")
            .agg(pl.col("bytes_per_inference").sum())
            .sort("index")
        )
        axes.plot(
            *(total["index"], total["bytes_per_inference"]),
            color=style.GREY,
            marker="s",
            markersize=4,
            linestyle="--",
            label="all cuts",
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    sums = iterations.group_by("index").agg(pl.col("bytes_per_inference").sum())
    top = max(float(sums["bytes_per_inference"].max() or 0), raw_input_bytes) * 1.6  # type: ignore[arg-type]
    bottom = min(float(iterations["bytes_per_inference"].min() or 1), raw_input_bytes) / 1.6  # type: ignore[arg-type]
    axes.set_ylim(bottom, top)
    axes.axhline(
        raw_input_bytes, color=style.BLACK, linestyle="--", linewidth=1.2, label="raw input instead"
    )
    axes.axhspan(raw_input_bytes, top, color=style.VERMILLION, alpha=0.08, label="loss", zorder=0)
    axes.set_ylabel("bytes per inference")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
