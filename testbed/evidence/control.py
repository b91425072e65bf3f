"""Control on several traces: from run directories to one table and one plot.

python -m testbed.evidence.control OUT_FOLDER RUN_DIR...

The runs are of one experiment that differ in the trace alone, e.g.
``concertina run lte-control --set network.access.up.trace.seed=22 --out DIR``.
"""

import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from matplotlib.figure import Figure

from analysis.errors import NotARunError
from analysis.metrics.measure import measure
from analysis.plots import style
from analysis.run.reader import read_run
from analysis.summary import Summary
from analysis.summary.control import ControlMode
from analysis.summary.network import FidelitySummary
from testbed.evidence.command import call_with_paths

GOAL_SHARE, GOAL_POINTS = 0.95, 1.0
INCONCLUSIVE = "inconclusive (disturbed)"
"""A run whose oracle, which knows every rate beforehand, misses the share: something other than the
link held the frames up, and what automatic control kept there says nothing about it."""


def table_of(summaries: Sequence[tuple[str, str, Summary]]) -> dict[str, Any]:
    """Every mode of every run, and what automatic control kept and lost: median and spread over
    the traces that had a conclusive run, each with the median of its runs.

    ``summaries``: name, trace and summary of each run. Raises ``NotARunError`` for a run without
    automatic control or oracle.
    """
    runs: list[dict[str, Any]] = []
    for name, trace, summary in summaries:
        again = sum(run["trace"] == trace for run in runs)
        runs.append({"run": name, "trace": trace, "run_of_trace": again + 1, **_run(name, summary)})
    conclusive = [run for run in runs if run["verdict"] != INCONCLUSIVE]
    traces = list(dict.fromkeys(run["trace"] for run in conclusive))
    return {
        "runs": runs,
        "automatic": {
            "runs": len(runs),
            "traces": len({run["trace"] for run in runs}),
            "conclusive_runs": len(conclusive),
            "conclusive_traces": len(traces),
            "within_share": _spread(
                [_median(conclusive, trace, "automatic_within_share") for trace in traces]
            ),
            "points_below_oracle": _spread(
                [_median(conclusive, trace, "points_below_oracle") for trace in traces]
            ),
            "goal": {"within_share": GOAL_SHARE, "points_below_oracle": GOAL_POINTS},
            "reached": {run["run"]: run["verdict"] == "reached" for run in conclusive},
        },
    }


def _run(name: str, summary: Summary) -> dict[str, Any]:
    control = summary.pipeline.control if summary.pipeline else None
    automatic, oracle = (
        control.mode(mode) if control else None for mode in ("automatic", "oracle")
    )
    if control is None or automatic is None or oracle is None:
        raise NotARunError(f"{name}: not served under automatic control and the oracle")
    points = None
    if automatic.accuracy and oracle.accuracy:
        points = 100 * (oracle.accuracy.value - automatic.accuracy.value)
    foretold = None
    if automatic.accuracy_forecast is not None and oracle.accuracy_forecast is not None:
        foretold = 100 * (oracle.accuracy_forecast - automatic.accuracy_forecast)
    return {
        "verdict": _verdict(automatic.within_share, oracle.within_share, points),
        "bound_ms": control.bound_ms,
        "fidelity": summary.fidelity.verdict,
        "reasons": list(summary.fidelity.reasons),
        "idle_cpu_min_share": summary.fidelity.cpu_idle_min_share,
        "replays": [replay.model_dump() for replay in summary.replays],
        "automatic_within_share": automatic.within_share,
        "points_below_oracle": points,
        "points_below_oracle_foretold": foretold,
        "modes": {mode.mode: _figures(mode) for mode in control.modes},
    }


def _figures(mode: ControlMode) -> dict[str, Any]:
    return {
        "within_share": mode.within_share,
        "frames": mode.frames,
        "frames_due": mode.frames_due,
        "accuracy": mode.accuracy.value if mode.accuracy else None,
        "passes": mode.passes,
        "images": mode.accuracy.images if mode.accuracy else None,
        "accuracy_forecast": mode.accuracy_forecast,
        "wire_bytes_per_inference": mode.wire_bytes,
        "bandwidth_reduction": mode.bandwidth_reduction.total.share
        if mode.bandwidth_reduction
        else None,
        "switches": mode.switches,
        "latency_ms_median": mode.latency.median_ms if mode.latency else None,
        "latency_ms_p95": mode.latency.p95_ms if mode.latency else None,
    }


def _verdict(share: float | None, oracle_share: float | None, points: float | None) -> str:
    """``reached``, ``missed``, or that the run cannot tell."""
    if oracle_share is None or oracle_share < GOAL_SHARE:
        return INCONCLUSIVE
    kept = share is not None and share >= GOAL_SHARE
    return "reached" if kept and points is not None and points <= GOAL_POINTS else "missed"


def _median(runs: Sequence[dict[str, Any]], trace: str, figure: str) -> float | None:
    """Over the runs of one trace, each weighed alike; None if one lacks it."""
    values = [run[figure] for run in runs if run["trace"] == trace]
    return None if None in values else statistics.median(values)


def _spread(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return {"median": statistics.median(known), "min": min(known), "max": max(known)}


def trace_of(experiment: str) -> str:
    """The traces that an experiment's links follow, in words: runs with the same had the same."""
    network = (yaml.safe_load(experiment) or {}).get("network", {})
    return "; ".join(
        ", ".join(f"{key} {value}" for key, value in trace.items() if value is not None)
        for trace in _traces(network)
    )


def _traces(part: Any) -> Iterator[dict[str, Any]]:
    """Every ``trace`` below a part of an experiment."""
    below = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    if isinstance(part, dict) and isinstance(part.get("trace"), dict):
        yield part["trace"]
    for each in below:
        yield from _traces(each)


def marks(table: dict[str, Any]) -> pl.DataFrame:
    """A row for every mode of every run that served whole passes."""
    rows = [
        (
            *(run["run"], run["trace"], run["verdict"], mode),
            *(figures["within_share"], figures["accuracy"], figures["passes"]),
        )
        for run in table["runs"]
        for mode, figures in run["modes"].items()
        if figures["accuracy"] is not None
    ]
    columns = ["run", "trace", "verdict", "mode", "within_share", "accuracy", "passes"]
    return pl.DataFrame(rows, schema=columns, orient="row")


@style.styled
def draw(data: pl.DataFrame, bound_ms: float) -> Figure:
    """Every mode of every run by its share within the bound and its accuracy; hollow where the run
    is inconclusive."""
    runs, traces = data["run"].n_unique(), data["trace"].n_unique()
    figure = style.new_figure(
        "Control on varying LTE uplinks",
        f"{runs} runs on {traces} traces, bound {bound_ms:g} ms; hollow: {INCONCLUSIVE}, for the "
        f"oracle kept less than {GOAL_SHARE:.0%}",
        4.6,
    )
    axes = figure.subplots()
    for index, part in enumerate(data.partition_by("mode", maintain_order=True)):
        colour = style.COLOURS[index % len(style.COLOURS)]
        disturbed = part["verdict"] == INCONCLUSIVE
        for chosen, face in ((part.filter(~disturbed), colour), (part.filter(disturbed), "none")):
            axes.scatter(
                *(100 * chosen["within_share"], 100 * chosen["accuracy"]),
                facecolor=face,
                edgecolor=colour,
                marker="o*s^vD"[index % 6],
                s=120 if index == 1 else 55,
            )
        axes.scatter(
            *([], []),
            color=colour,
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


def make(out: Path, *folders: Path) -> None:
    """``table.json``, ``control.svg`` and its data; every run's verdict is printed."""
    summaries = []
    for folder in folders:
        run = read_run(folder)
        summaries.append((folder.name, trace_of(run.experiment), measure(run).summary))
    table = table_of(summaries)
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.json").write_text(json.dumps(table, indent=1) + "\n")
    verdicts = ("pass", "warn", "fail", "unknown")
    worst: FidelitySummary = max(
        (summary.fidelity for _, _, summary in summaries), key=lambda f: verdicts.index(f.verdict)
    )
    data = marks(table)
    figure = draw(data, table["runs"][0]["bound_ms"])
    style.save(figure, data, out / "control.svg", "lte-control", worst)
    for each in table["runs"]:
        print(f"{each['run']} ({each['trace']}, run {each['run_of_trace']}): {each['verdict']}")


def main(arguments: Sequence[str]) -> int:
    """The command; exit status 2 for arguments that make no sense."""
    return call_with_paths(make, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
