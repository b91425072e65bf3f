"""Runs side by side: their figures, the differences, and what chance alone could make of them.

Runs of the same experiment, but for the seed, are repetitions and share a column; where all runs
are of one experiment, each has a column of its own. Differences are to the first column. Their
95 % intervals come from what there is:

* *repetitions*: at least two runs in both columns. Welch's t interval for the difference of the
  means of the runs' figures.
* *frames*: one run in both columns, a figure that every frame has. Moving-block bootstrap of the
  difference of medians or means.
* *images*: one run in both columns, a share of images. Newcombe's hybrid score interval. Both runs
  used the same images, which it does not know: it is too wide rather than too narrow.

Frames and images of one run say nothing of how another run of the same experiment would differ;
only repetitions do. Other figures have no interval.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

import polars as pl
import yaml

from analysis.compare.conditions import Condition, conditions
from analysis.metrics.figures import Figure, run_figures
from analysis.metrics.intervals import Interval, of_frames, of_shares, welch
from analysis.metrics.measure import Measured
from analysis.wording import counted
from stage_node.records.vocabulary import DIRECTIONS

Method = Literal["repetitions", "frames", "images", ""]
Key = tuple[str, str]

COMPARISON_SCHEMA: dict[str, type[pl.DataType]] = {
    "section": pl.String,
    "figure": pl.String,
    "unit": pl.String,
    "first": pl.String,
    "first_value": pl.Float64,
    "other": pl.String,
    "other_value": pl.Float64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "method": pl.String,
}
"""One row per figure and column after the first; ``low`` to ``high`` is the 95 % interval of the
difference, null without a method."""


@dataclass(frozen=True)
class ComparedColumn:
    """Runs that are compared as one: repetitions, or a single run."""

    name: str
    runs: tuple[Measured, ...]


@dataclass(frozen=True)
class Comparison:
    """Columns, the table of ``COMPARISON_SCHEMA``, what speaks against comparing them, and the
    conditions that each was made under."""

    columns: tuple[ComparedColumn, ...]
    table: pl.DataFrame
    warnings: tuple[str, ...]
    conditions: tuple[Condition, ...]


def compare(runs: Sequence[tuple[str, Measured]]) -> Comparison:
    """Compare runs, at least two, each with the name it shall be called by."""
    columns = _columns(runs)
    first, *others = ((column.name, _figures(column)) for column in columns)
    rows = [
        _row(key, first[0], figures, other_name, other[key])
        for other_name, other in others
        for key, figures in first[1].items()
        if key in other
    ]
    table = pl.DataFrame(rows, schema=COMPARISON_SCHEMA, orient="row")
    made = conditions([column.runs for column in columns])
    return Comparison(columns, table, tuple(_warnings(columns)), made)


def _figures(column: ComparedColumn) -> dict[Key, list[Figure]]:
    """The figures that all runs of a column have."""
    runs = [{(f.section, f.name): f for f in run_figures(run)} for run in column.runs]
    return {key: [run[key] for run in runs] for key in runs[0] if all(key in run for run in runs)}


def _columns(runs: Sequence[tuple[str, Measured]]) -> tuple[ComparedColumn, ...]:
    groups: dict[str, list[tuple[str, Measured]]] = {}
    for name, run in runs:
        groups.setdefault(_identity(run), []).append((name, run))
    if len(groups) == 1:
        return tuple(ComparedColumn(name, (run,)) for name, run in runs)
    return tuple(
        ComparedColumn(_shared_name([name for name, _ in group]), tuple(run for _, run in group))
        for group in groups.values()
    )


def _identity(measured: Measured) -> str:
    """The experiment without what differs between repetitions."""
    experiment = yaml.safe_load(measured.run.experiment) or {}
    return repr({key: value for key, value in experiment.items() if key != "seed"})


def _shared_name(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _row(
    key: Key, first_name: str, first: list[Figure], other_name: str, other: list[Figure]
) -> tuple[Any, ...]:
    a, b = fmean(figure.value for figure in first), fmean(figure.value for figure in other)
    method, interval = _interval(first, other)
    return (*key, first[0].unit, first_name, a, other_name, b, b - a, *interval, method)


def _interval(
    first: list[Figure], other: list[Figure]
) -> tuple[Method, Interval | tuple[None, None]]:
    if len(first) > 1 and len(other) > 1:
        return "repetitions", welch([f.value for f in first], [f.value for f in other])
    if len(first) > 1 or len(other) > 1:
        return "", (None, None)
    a, b = first[0], other[0]
    if a.frames is not None and b.frames is not None and len(a.frames) and len(b.frames):
        return "frames", of_frames(a.frames, b.frames, a.reduce)
    if a.images and b.images:
        low, high = of_shares(a.value / 100, a.images, b.value / 100, b.images)
        return "images", (100 * low, 100 * high)
    return "", (None, None)


def _warnings(columns: tuple[ComparedColumn, ...]) -> Iterator[str]:
    """Reasons against comparing these columns."""
    for column in columns:
        for run in column.runs:
            verdict = run.summary.fidelity.verdict
            if verdict != "pass":
                yield f"{column.name}: fidelity {verdict}: {_first_reason(run)}"
            if run.summary.failure:
                yield f"{column.name}: the run failed: {run.summary.failure}"
            elif not any(True for _ in run_figures(run)):
                yield f"{column.name}: no split model served and no model was delivered"
            if run.summary.problems:
                found = counted(len(run.summary.problems), "problem")
                yield f"{column.name}: {found} with its records: {run.summary.problems[0]}"
    first = columns[0]
    for column in columns[1:]:
        yield from _network_differences(first, column)


def _first_reason(measured: Measured) -> str:
    reasons = measured.summary.fidelity.reasons
    return reasons[0] if reasons else "no reason given"


def _network_differences(first: ComparedColumn, other: ComparedColumn) -> Iterator[str]:
    ours, theirs = ({x.name: x for x in c.runs[0].run.network.links} for c in (first, other))
    for name in sorted(ours.keys() ^ theirs.keys()):
        has = first if name in ours else other
        yield f"{other.name}: not the network of {first.name}: only {has.name} has link {name}"
    for name in [link for link in ours if link in theirs]:
        for direction in DIRECTIONS:
            a, b = (links[name].shape(direction).model_dump() for links in (ours, theirs))
            if a != b:
                changed = ", ".join(
                    f"{field} {b[field]} instead of {a[field]}"
                    for field in a
                    if a[field] != b[field]
                )
                yield f"{other.name}: link {name} {direction}: {changed}"
