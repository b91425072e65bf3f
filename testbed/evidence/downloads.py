"""Excess of downloads over their least time, by the profile of the link.

python -m testbed.evidence.downloads OUT_FOLDER RUN_DIR...

The least time is handshake, request and the rounds of slow start at the probed round trip, then
the bytes at the probed rate (docs/summary.md, ExpectedDownload); all of it is in the runs'
summaries. ``RUN_DIR``s are cells of ``concertina sweep accordion-downloads``, or any runs with
downloads. Where a profile loses packets, no least time is known, and its downloads are left out.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.errors import NotARunError
from analysis.plots import style
from analysis.sweep.table import read_cell
from testbed.evidence.command import call_with_paths

SCHEMA = {
    "link": pl.String,
    "initial_window": pl.String,
    "payload_bytes": pl.Int64,
    "duration_ms": pl.Float64,
    "least_ms": pl.Float64,
    "excess_percent": pl.Float64,
    "retransmitted_bytes": pl.Int64,
    "verdict": pl.String,
    "paused_percent": pl.Float64,
}
WINDOWS = {"default": (style.BLUE, "o"), "path": (style.VERMILLION, "s")}
WANTED_PERCENT = 3.0
CALM_PERCENT = 3.0
"""Of the network-bound time, in which nothing of the emulation ran; what the verdict allows."""


def downloads(folder: Path) -> pl.DataFrame:
    """A row for every download of a run whose least time is known, columns of ``SCHEMA``.

    ``NotARunError`` for a run without a download, or whose links were not examined.
    """
    summary = read_cell(folder)
    if summary is None or summary.accordion is None or not summary.accordion.downloads:
        raise NotARunError(f"{folder}: has no summary of downloads")
    paused = summary.fidelity.paused_share
    profiles = "+".join(dict.fromkeys(each.profile or "custom" for each in summary.links))
    rows = [
        (
            profiles,
            "path" if summary.accordion.initial_windows else "default",
            each.payload_bytes,
            each.duration_ms,
            each.expected.total_ms,
            100 * each.excess,
            each.retransmitted_bytes,
            summary.fidelity.verdict,
            None if paused is None else 100 * paused,
        )
        for each in summary.accordion.downloads
        if each.expected is not None and each.excess is not None
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@style.styled
def draw(data: pl.DataFrame, path: Path) -> Figure:
    """Every download, by link and window; hollow: from a run that was disturbed."""
    verdicts = ", ".join(sorted(set(data["verdict"])))
    figure = style.new_figure(
        "How much longer than their least time downloads took",
        f"hollow: paused for more than {CALM_PERCENT:g} %, or a failed link; links: {verdicts}",
        4.4,
    )
    axes = figure.subplots()
    links = data["link"].unique(maintain_order=True).to_list()
    for index, (window, (colour, mark)) in enumerate(WINDOWS.items()):
        mine = data.filter(pl.col("initial_window") == window)
        calm = (pl.col("paused_percent") <= CALM_PERCENT) & (pl.col("verdict") != "fail")
        for chosen, filled in ((mine.filter(calm), True), (mine.filter(~calm), False)):
            axes.scatter(
                [links.index(link) + 0.24 * (index - 0.5) for link in chosen["link"]],
                chosen["excess_percent"],
                color=colour,
                facecolor=colour if filled else "none",
                marker=mark,
                s=22,
                alpha=0.9 if filled else 0.45,
                label=f"initial window: {window}" if filled else None,
            )
    axes.axhline(WANTED_PERCENT, color=style.BLACK, linestyle=":", linewidth=1.2)
    _scaled(axes, data)
    axes.set_xticks(range(len(links)), links, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_ylabel("longer than the least time, %")
    axes.legend(loc="upper left", bbox_to_anchor=(0, 1.0))
    figure.savefig(path, format="svg", metadata={"Date": None})
    return figure


def _scaled(axes: Axes, data: pl.DataFrame) -> None:
    """In equal steps up to what is wanted and a little more, by ratio beyond."""
    axes.set_yscale("symlog", linthresh=5, linscale=1.5)
    least, most = (float(each) for each in data["excess_percent"].sort()[[0, -1]])
    bottom, top = min(1.2 * least, -0.5), max(1.5 * most, 10.0)
    axes.set_ylim(bottom, top)
    ticks = [each for each in (-5, 0, 3, 5, 10, 20, 50, 100, 200, 500) if bottom <= each <= top]
    axes.set_yticks(ticks, [f"{each}" for each in ticks])
    axes.set_yticks([], minor=True)


def make(out: Path, *folders: Path) -> None:
    """``downloads.csv`` and its plot."""
    data = pl.concat(map(downloads, folders))
    slowest_first = pl.col("least_ms").max().over("link")
    data = data.sort(-slowest_first, "link", "initial_window", maintain_order=True)
    out.mkdir(parents=True, exist_ok=True)
    data.write_csv(out / "downloads.csv")
    draw(data, out / "downloads.svg")


def main(arguments: Sequence[str]) -> int:
    """The command; exit status 2 for arguments that make no sense."""
    return call_with_paths(make, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
