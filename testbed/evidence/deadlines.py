"""Deadlines kept: what UEs had by their deadline, against what their links could have carried.

python -m testbed.evidence.deadlines OUT_FOLDER RUN_DIR...

Every figure is of the run's own summary, that is of its captures and its probe.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.errors import NotARunError
from analysis.metrics.measure import measure
from analysis.plots import style
from analysis.run.reader import read_run
from analysis.summary import Summary
from analysis.summary.accordion import DeadlineRequest
from testbed.evidence.command import call_with_paths

DISC = 110
"""Area of a disc of few requests, in points; that of all is twice it."""


def kept(folder: Path) -> list[dict[str, Any]]:
    """A row for every UE and kind of admission; ``NotARunError`` without a deadline."""
    summary = measure(read_run(folder)).summary
    if summary.accordion is None or not summary.accordion.requests:
        raise NotARunError(f"{folder}: nothing was asked for within a deadline")
    asked = summary.accordion.requests
    return [
        _row(summary, [r for r in asked if (r.ue, r.admission) == (ue.ue, ue.admission)])
        | {
            "first_inference_ms_median": ue.first_inference_ms_median,
            "met": ue.met,
            "good_share": ue.good_share,
        }
        for ue in summary.accordion.ues
    ]


def _row(summary: Summary, asked: Sequence[DeadlineRequest]) -> dict[str, Any]:
    assert summary.accordion is not None
    opened = {window.ue: window.segments for window in summary.accordion.initial_windows}
    return {
        "run": summary.name,
        "fidelity": summary.fidelity.verdict,
        "reasons": list(summary.fidelity.reasons),
        "ue": asked[0].ue,
        "admission": asked[0].admission,
        "deadline_ms": asked[0].deadline_ms,
        "initial_window_segments": opened.get(asked[0].ue),
        "requests": len(asked),
        "refused": sum(request.refused for request in asked),
        "useful_bytes_median": median(request.useful_bytes for request in asked),
        "possible_bytes_median": _median([request.possible_bytes for request in asked]),
        "carried_bytes_median": _median([request.carried_bytes for request in asked]),
        "in_time": [request.met for request in asked],
        "useful_share": [request.useful_share for request in asked],
        "link_share": [request.link_share for request in asked],
    }


def _median(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


@style.styled
def draw(rows: Sequence[dict[str, Any]], path: Path) -> Figure:
    """A line for each UE; a disc for requests that ended alike, with their number."""
    figure = style.new_figure(
        "Complete by the deadline",
        "bytes of complete blocks, of those that the link could have carried; number of requests",
        1.5 + 0.62 * len(rows),
    )
    axes = figure.subplots()
    for place, row in enumerate(rows):
        _discs(axes, -place, row)
    axes.set_yticks([-place for place in range(len(rows))], [_told(row) for row in rows])
    axes.set_ylim(-len(rows) + 0.4, 0.6)
    axes.set_xlim(-5, 105)
    axes.set_xlabel("%")
    axes.grid(visible=False, axis="y")
    for label, face in (("in time", style.SKY), ("late or nothing", "white")):
        axes.scatter([], [], s=60, facecolor=face, edgecolor=style.BLACK, label=label)
    figure.legend(loc="outside lower center", ncols=2)
    figure.savefig(path, format="svg", metadata={"Date": None})
    return figure


def _discs(axes: Axes, place: int, row: dict[str, Any]) -> None:
    ends = zip(row["useful_share"], row["in_time"], strict=True)
    alike = Counter((round(100 * share), met) for share, met in ends if share is not None)
    for (percent, met), count in alike.items():
        beside = 0 if (percent, not met) not in alike else (0.2 if met else -0.2)
        axes.scatter(
            percent,
            place + beside,
            s=DISC * (1 + count / len(row["in_time"])),
            facecolor=style.SKY if met else "white",
            edgecolor=style.BLACK,
            linewidth=0.8,
        )
        axes.annotate(str(count), (percent, place + beside), ha="center", va="center", fontsize=7.5)


def _told(row: dict[str, Any]) -> str:
    window = ", path's window" if row["initial_window_segments"] else ""
    return (
        f"{row['run']} ({row['fidelity']}): {row['ue']}, {row['deadline_ms']:g} ms, "
        f"{row['admission']}{window}\n{row['met']} of {row['requests']} in time"
    )


def make(out: Path, *folders: Path) -> None:
    """``deadlines.json`` and its plot."""
    rows = [row for folder in folders for row in kept(folder)]
    out.mkdir(parents=True, exist_ok=True)
    (out / "deadlines.json").write_text(json.dumps(rows, indent=1) + "\n")
    draw(rows, out / "deadlines.svg")


def main(arguments: Sequence[str]) -> int:
    """The command; exit status 2 for arguments that make no sense."""
    return call_with_paths(make, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
