"""Control on several traces: from run directories to one table and one plot.

python -m testbed.evidence.control OUT_FOLDER RUN_DIR...

The runs are of one experiment that differ in the trace's seed alone, e.g.
``concertina run lte-control --set network.access.up.trace.seed=12 --out DIR``.
"""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from analysis.errors import NotARunError
from analysis.measure import measure
from analysis.plots import style
from analysis.rundir import read_run
from analysis.summary import Fidelity, Summary

GOAL_SHARE, GOAL_POINTS = 0.95, 1.0


def table_of(summaries: Sequence[tuple[str, Summary]]) -> dict[str, Any]:
    """Every mode of every run, and what automatic control kept and lost: median and spread."""
    runs = [_run(name, summary) for name, summary in summaries]
    kept = [run["modes"]["automatic"]["within_share"] for run in runs]
    lost = [run["points_below_oracle"] for run in runs]
    return {
        "runs": runs,
        "automatic": {
            "within_share": _spread(kept),
            "points_below_oracle": _spread(lost),
            "goal": {"within_share": GOAL_SHARE, "points_below_oracle": GOAL_POINTS},
            "reached": [
                share >= GOAL_SHARE and points <= GOAL_POINTS
                for share, points in zip(kept, lost, strict=True)
            ],
        },
    }


def _run(name: str, summary: Summary) -> dict[str, Any]:
    control = summary.pipeline.control if summary.pipeline else None
    if control is None or not {"automatic", "oracle"} <= {mode.mode for mode in control.modes}:
        raise NotARunError(f"{name}: not served under automatic control and the oracle")
    modes: dict[str, dict[str, Any]] = {
        mode.mode: {
            "within_share": mode.within_share,
            "frames": mode.frames,
            "frames_due": mode.frames_due,
            "accuracy": mode.accuracy.value if mode.accuracy else None,
            "images": mode.accuracy.images if mode.accuracy else 0,
            "accuracy_forecast": mode.accuracy_forecast,
            "switches": mode.switches,
            "latency_ms_median": mode.latency.median_ms if mode.latency else None,
            "latency_ms_p95": mode.latency.p95_ms if mode.latency else None,
        }
        for mode in control.modes
    }
    automatic, oracle = modes["automatic"], modes["oracle"]
    return {
        "run": name,
        "bound_ms": control.bound_ms,
        "fidelity": summary.fidelity.verdict,
        "reasons": list(summary.fidelity.reasons),
        "idle_cpu_min_share": summary.fidelity.cpu_idle_min_share,
        "replays": [replay.model_dump() for replay in summary.replays],
        "points_below_oracle": 100 * (oracle["accuracy"] - automatic["accuracy"]),
        "points_below_oracle_foretold": 100
        * (oracle["accuracy_forecast"] - automatic["accuracy_forecast"]),
        "modes": modes,
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def marks(table: dict[str, Any]) -> pl.DataFrame:
    """A row for every mode of every run that served anything."""
    rows = [
        (run["run"], mode, figures["within_share"], figures["accuracy"])
        for run in table["runs"]
        for mode, figures in run["modes"].items()
        if figures["accuracy"] is not None
    ]
    return pl.DataFrame(rows, schema=["run", "mode", "within_share", "accuracy"], orient="row")


@style.styled
def draw(data: pl.DataFrame, bound_ms: float) -> Figure:
    """Every mode of every run by its share within the bound and its accuracy."""
    figure = style.new_figure(
        "Control on varying LTE uplinks",
        f"{data['run'].n_unique()} traces, one mark for each; frames within {bound_ms:g} ms "
        "against the accuracy of what was served",
        4.6,
    )
    axes = figure.subplots()
    for index, part in enumerate(data.partition_by("mode", maintain_order=True)):
        axes.scatter(
            *(100 * part["within_share"], 100 * part["accuracy"]),
            color=style.COLOURS[index % len(style.COLOURS)],
            marker="o*s^vD"[index % 6],
            s=120 if index == 1 else 55,
            label=part["mode"][0].replace("; ", ";\n"),
        )
    axes.axvline(100 * GOAL_SHARE, color=style.GREY, linestyle=":", linewidth=1.2)
    axes.margins(0.1)
    axes.set_xlabel("frames within the bound, % of those due; dotted: the goal")
    axes.set_ylabel("accuracy of the inferences served, %")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.03), labelspacing=0.8)
    return figure


def main(arguments: Sequence[str]) -> int:
    """Write ``table.json``, ``control.svg`` and its data; the exit status."""
    if len(arguments) < 2:
        print("usage: python -m testbed.evidence.control OUT_FOLDER RUN_DIR...", file=sys.stderr)
        return 2
    folder, *runs = map(Path, arguments)
    try:
        summaries = [(run.name, measure(read_run(run)).summary) for run in runs]
        table = table_of(summaries)
    except NotARunError as error:
        print(f"control: {error}", file=sys.stderr)
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.json").write_text(json.dumps(table, indent=1) + "\n")
    verdicts = ("pass", "warn", "fail", "unknown")
    worst: Fidelity = max(
        (summary.fidelity for _, summary in summaries), key=lambda f: verdicts.index(f.verdict)
    )
    data = marks(table)
    figure = draw(data, table["runs"][0]["bound_ms"])
    style.save(figure, data, folder / "control.svg", "lte-control", worst)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
