"""Plots of a run's automatic control, with the tables they are drawn from."""

from collections.abc import Iterator

import polars as pl

from analysis.metrics.links.link_changes import is_restoration
from analysis.metrics.measure import MeasuredPipeline
from analysis.metrics.pipeline.control import mode_choices, mode_frames
from analysis.plots.figures.control import (
    COMPARISON_SCHEMA,
    TIMELINE_SCHEMA,
    plot_comparison,
    plot_control,
)
from analysis.plots.plot import Plot
from analysis.run.reader import Run
from stage_node.records.events import ControlBegins, LinkChanged


def control_plots(measured: MeasuredPipeline) -> Iterator[Plot]:
    """Every mode over time, and beside the others."""
    control = measured.figures.control
    if control is None:
        return
    timeline = control_timeline(measured.run)
    shown = control.mode("automatic") or control.modes[0]
    other = "oracle" if control.mode("oracle") and shown.mode != "oracle" else None
    if timeline.filter(pl.col("mode") == shown.mode).height:
        yield Plot(
            "control",
            f"Mode {shown.mode}: the rates applied to the links that vary, what the ladders "
            "foretell of the rungs chosen, and the latency of every frame from admission to result "
            "against the bound.",
            plot_control(timeline, shown.mode, other, control.bound_ms),
            timeline,
        )
    if len(control.modes) > 1:
        table = pl.DataFrame(
            [
                {
                    "mode": mode.mode,
                    "within_share": mode.within_share,
                    "accuracy": mode.accuracy.value if mode.accuracy else None,
                    "accuracy_forecast": mode.accuracy_forecast,
                    "switches": mode.switches,
                }
                for mode in control.modes
            ],
            schema=COMPARISON_SCHEMA,
        )
        yield Plot(
            "control_comparison",
            "Every mode of control on the same trace: frames within the bound, of all that were "
            "due, against the accuracy of the inferences that were served.",
            plot_comparison(table),
            table,
        )


def control_timeline(run: Run) -> pl.DataFrame:
    """Frames, choices and link changes of every mode (``TIMELINE_SCHEMA``)."""
    rows: list[tuple[str, str, float, float]] = []
    for mode in run.events_of(ControlBegins):
        rows += [
            (
                mode.mode,
                f"mbit {change.link}",
                (change.t_ns - mode.begin_ns) / 1e9,
                change.rate_mbit,
            )
            for change in _changes(run, mode)
        ]
        rows += [
            (mode.mode, "accuracy", (choice.t_ns - mode.begin_ns) / 1e9, choice.accuracy)
            for choice in mode_choices(run, mode)
        ]
        frames = mode_frames(run, mode)
        rows += [
            (mode.mode, "latency_ms", t_s, latency_ms)
            for t_s, latency_ms in frames.select("t_s", "latency_ms").iter_rows()
        ]
    return pl.DataFrame(rows, schema=TIMELINE_SCHEMA, orient="row")


def _changes(run: Run, mode: ControlBegins) -> Iterator[LinkChanged]:
    """Link changes of a mode, without those at its end that put a link back as configured."""
    mine = [c for c in run.events_of(LinkChanged) if mode.begin_ns <= c.t_ns < mode.end_ns]
    last = {(change.link, change.direction): change for change in mine}
    for change in mine:
        ends = change is last[change.link, change.direction]
        if not (ends and is_restoration(run, change)):
            yield change
