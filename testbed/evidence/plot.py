"""The plot of a table of ``testbed.evidence.measure``: accuracy against bytes.

python -m testbed.evidence.plot table.json accuracy-against-bytes.svg
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import style
from testbed.evidence.command import call_with_paths, reading_table

FLOOR_POINTS = 1.0
SERIES = {
    "width": (style.BLUE, "o", ":"),
    "sparse": (style.ORANGE, "v", ":"),
    "quantisation": (style.GREEN, "s", ":"),
    "quantisation, zstd": (style.GREEN, "s", "-"),
    "zstd": (style.BLACK, "X", ""),
    "fringe weights": (style.BLACK, "|", ""),
    "sparse, 4 bit, zstd": (style.ORANGE, "v", "-"),
    "width, 4 bit, zstd": (style.SKY, "P", "-"),
    "width, 8 bit, zstd": (style.BLUE, "o", "-"),
    "width, 8 bit, tuned, zstd": (style.PURPLE, "D", "-"),
    "distilled": (style.VERMILLION, "*", "-"),
}
"""Colour, marker and line of every series that is shown; hollow: a mechanism alone."""
ALONE = frozenset({"width", "sparse", "quantisation"})
PARTS = frozenset({"rows", "images", "after", "dataset", "frame_images", "raw_image_bytes"})


@style.styled
def draw(table: dict[str, Any], path: Path) -> Figure:
    """Write the plot (SVG) and its data beside it (CSV)."""
    rows = pl.DataFrame(table["rows"])
    base = rows.filter(pl.col("series") == "uncompressed").row(0, named=True)
    test, cut = table["images"]["test"], table["after"]
    figure = style.new_figure(
        f"Accuracy against bytes per inference at the cut after {cut}",
        f"{table['dataset']}, all {test:,} test images; payloads as encoded in frames of "
        f"{table['frame_images']} images, without headers",
        5.2,
    )
    axes = figure.subplots()
    _guides(axes, table["raw_image_bytes"], base)
    for series, (colour, marker, line) in SERIES.items():
        shown = rows.filter(pl.col("series") == series).sort("bytes_per_image")
        if shown.height:
            axes.plot(
                shown["bytes_per_image"],
                100 * shown["test_accuracy"],
                color=colour,
                marker=marker,
                linestyle=line,
                markersize=11 if marker == "*" else 6,
                markerfacecolor="white" if series in ALONE else colour,
                label=series,
                zorder=4 if marker in "*D" else 3,
            )
    top = 100 * base["test_accuracy"]
    axes.set_xscale("log", base=2)
    axes.set_ylim(top - 13.5, top + 1.5)
    ticks = [2**power for power in range(6, 16)]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xlabel("bytes per inference (log)")
    axes.set_ylabel("test accuracy (%)")
    hidden = rows.filter(100 * pl.col("test_accuracy") < top - 13.5).height
    if hidden:
        axes.text(0.99, 0.01, f"{hidden} rows lie below", transform=axes.transAxes, ha="right",
                  color=style.GREY, fontsize=8)  # fmt: skip
    figure.legend(loc="outside right upper")
    # Without the date, the same table gives the same file.
    figure.savefig(path, format="svg", metadata={"Date": None})
    rows.write_csv(path.with_suffix(".csv"))
    return figure


def _guides(axes: Axes, raw_bytes: int, base: dict[str, Any]) -> None:
    top = 100 * base["test_accuracy"]
    axes.axhline(top, color=style.BLACK, linewidth=1)
    axes.text(48, top + 0.15, f"uncompressed model: {top:.2f} %", va="bottom", fontsize=8)
    axes.axhline(top - FLOOR_POINTS, color=style.BLACK, linewidth=1, linestyle="--")
    axes.text(48, top - FLOOR_POINTS - 0.15, f"{FLOOR_POINTS:g} point lost", va="top", fontsize=8)
    axes.axvline(raw_bytes, color=style.GREY, linewidth=1.2)
    axes.axvspan(raw_bytes, 2 * base["bytes_per_image"], color="#EEEEEE", zorder=0)
    axes.text(raw_bytes * 1.06, top - 13.2, f"raw image: {raw_bytes:,} bytes;\nabove: a loss",
              va="bottom", fontsize=8, color=style.GREY)  # fmt: skip
    axes.set_xlim(44, 1.4 * base["bytes_per_image"])


def make(source: Path, destination: Path) -> None:
    """The plot, and its data beside it."""
    with reading_table(source, "testbed.evidence.measure"):
        table = json.loads(source.read_text())
        if missing := PARTS - table.keys():
            raise LookupError(f"it lacks {', '.join(sorted(missing))}")
    draw(table, destination)


def main(arguments: Sequence[str]) -> int:
    """The command; exit status 2 for arguments that make no sense."""
    return call_with_paths(make, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
