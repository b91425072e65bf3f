"""The runs of a sweep in one tidy table, and means with their confidence intervals.

A row is a run: the value of every parameter, the repetition, the verdict, and every scalar figure
of its ``summary.json``. A figure's column is its path in the summary (docs/summary.md); entries of
a list are named by what distinguishes them (``pipelines.phone.windows.after``,
``links.a-b.a_to_b``); the columns of a pipeline that stands alone begin with ``pipeline``, as its
fields do in the experiment. A unit is added where the summary's own context gives it. Histories,
whose length differs from run to run, are left out.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ValidationError
from scipy.stats import t as student_t

from analysis.summary import Summary
from analysis.summary.network import FidelitySummary
from analysis.summary.pipeline import PipelineSummary
from stage_node.records.events import LONE_PIPELINE
from stage_node.records.run_directory import RunDirectory

CONFIDENCE = 0.95
TRUSTED = ("pass", "warn")
VERDICTS = ("pass", "warn", "fail", "unknown", "failed")
"""From best to worst; ``failed``: the run has no figures."""

INTERVALS_SCHEMA: dict[str, type[pl.DataType]] = {
    "figure": pl.String,
    "runs": pl.Int64,
    "mean": pl.Float64,
    "half_width": pl.Float64,
}
"""Beside the parameters; ``half_width`` of the interval around the mean, null of fewer than two."""

BEST_KNOWN = (
    "pipeline*.windows.*.end_to_end.median_ms",
    "pipeline*.windows.*.inferences_per_s",
    "pipeline*.windows.*.accuracy_share",
    "pipeline*.bandwidth_reduction.total.*_bytes",
    "pipeline*.control.modes.*.within_share",
    "accordion.ues.*.met_share",
    "accordion.ues.*.useful_share_median",
    "accordion.downloads.*.duration_ms",
)
"""What is plotted where the sweep does not say what."""

_TOLD_APART: Mapping[str, tuple[str, ...]] = {
    "links": ("link", "direction"),
    "loads": ("link", "direction"),
    "replays": ("link", "direction"),
    "pipelines": ("name",),
    "windows": ("label",),
    "cuts": ("cut",),
    "compute": ("host",),
    "places": ("place",),
    "modes": ("mode",),
    "ues": ("ue", "admission"),
    "downloads": ("ue", "round", "step", "attempt"),
}
_UNITS: Mapping[str, str] = {
    "bandwidth_reduction": "bytes",
    "latency_reduction": "ms",
}
_SHARES = frozenset(
    {"busy", "excess", "qdisc_difference", "qdisc_difference_max", "goodput_error_max"}
)

Scalar = float | int | bool | str


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep; without a summary it has failed, or was never run."""

    settings: Mapping[str, Any]
    repetition: int
    name: str
    summary: Summary | None


def read_cell(directory: Path) -> Summary | None:
    """The figures of a run that was carried through to its report, None of any other."""
    run = RunDirectory(directory)
    if not run.report.is_file():  # the last that a run leaves
        return None
    try:
        summary = Summary.read(run.summary)
    except (OSError, ValidationError):
        return None
    judged = summary.failure is None and summary.fidelity.verdict != "unknown"
    return summary if judged else None


def tidy(runs: Sequence[SweepRun]) -> pl.DataFrame:
    """A row per run: parameters, repetition, run, verdict, figures (null where a run has none)."""
    rows = []
    for run in runs:
        verdict = run.summary.fidelity.verdict if run.summary else "failed"
        head = {field: _plain(value) for field, value in run.settings.items()}
        head |= {"repetition": run.repetition, "run": run.name, "verdict": verdict}
        rows.append(head | (figures(run.summary) if run.summary else {}))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return pl.DataFrame({name: _column([row.get(name) for row in rows]) for name in columns})


def figures(summary: Summary) -> dict[str, Scalar]:
    """Every scalar figure of a summary by the name of its column."""
    return {name: value for name, value in _figures(summary, (), "") if name != "schema_version"}


def chosen_figures(table: pl.DataFrame, patterns: Sequence[str]) -> list[str]:
    """The table's numeric columns that a pattern names, in the patterns' order."""
    numeric = [name for name, kind in table.schema.items() if kind == pl.Float64]
    matches = (name for pattern in patterns for name in numeric if fnmatchcase(name, pattern))
    return list(dict.fromkeys(matches))


def intervals(table: pl.DataFrame, parameters: Sequence[str], names: Sequence[str]) -> pl.DataFrame:
    """Mean and half-width of each figure for each combination of parameters, over repetitions.

    The interval is Student's: mean ± t(n - 1 degrees of freedom) * s / sqrt(n), at ``CONFIDENCE``.
    It holds for independent runs whose figures are about normally distributed; each combination
    stands for itself, without a correction for looking at many. Runs whose verdict is not among
    ``TRUSTED`` are left out.
    """
    trusted = table.filter(pl.col("verdict").is_in(TRUSTED))
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        **{name: table.schema[name] for name in parameters},
        **INTERVALS_SCHEMA,
    }
    rows = [
        (*key, name, *_interval(group[name].drop_nulls().to_list()))
        for name in names
        for key, group in trusted.group_by(list(parameters), maintain_order=True)
        if group[name].count()
    ]
    return pl.DataFrame(rows, schema=schema, orient="row")


def worst(runs: Sequence[SweepRun]) -> FidelitySummary | None:
    """The least trustworthy of the verdicts; None if no run has one."""
    judged = [run.summary.fidelity for run in runs if run.summary]
    return max(judged, key=lambda fidelity: VERDICTS.index(fidelity.verdict), default=None)


def _interval(values: list[float]) -> tuple[int, float, float | None]:
    series = pl.Series(values, dtype=pl.Float64)
    count, mean = len(values), float(series.mean())  # type: ignore[arg-type]
    if count < 2:
        return count, mean, None
    quantile = float(student_t.ppf((1 + CONFIDENCE) / 2, count - 1))
    return count, mean, quantile * float(series.std()) / count**0.5  # type: ignore[arg-type]


def _figures(part: Any, path: tuple[str, ...], field: str) -> Iterator[tuple[str, Scalar]]:
    match part:
        case bool():
            yield ".".join(path), part
        case int() | float():
            yield _column_name(path), float(part)
        case PipelineSummary() if part.name == LONE_PIPELINE:
            yield from _figures_of(part, (LONE_PIPELINE,))
        case BaseModel():
            yield from _figures_of(part, path)
        case tuple() if field in _TOLD_APART:
            for entry in (each for each in part if isinstance(each, BaseModel)):
                told = (str(getattr(entry, name)) for name in _TOLD_APART[field])
                yield from _figures(entry, (*path, *told), "")


def _figures_of(part: BaseModel, path: tuple[str, ...]) -> Iterator[tuple[str, Scalar]]:
    for name in type(part).model_fields:
        yield from _figures(getattr(part, name), (*path, name), name)


def _column_name(path: tuple[str, ...]) -> str:
    *place, leaf = path
    unit = next((_UNITS[name] for name in place if name in _UNITS), None)
    if unit is not None and leaf != "share":
        return ".".join((*place, f"{leaf}_{unit}"))
    if leaf == "value":  # of an accuracy
        return ".".join(place) + "_share"
    return ".".join(path) + ("_share" if leaf in _SHARES else "")


def _plain(value: Any) -> Any:
    """A parameter's value as a table can hold it: a section becomes its JSON."""
    return value if isinstance(value, Scalar) else json.dumps(value)


def _column(values: list[Any]) -> pl.Series:
    """Numbers stay numbers, and words words; a column of both is of words."""
    kinds: list[Callable[[Any], bool]] = [
        lambda value: isinstance(value, bool),
        lambda value: isinstance(value, int) and not isinstance(value, bool),
        lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    ]
    present = [value for value in values if value is not None]
    for fits, kind in zip(kinds, (pl.Boolean, pl.Int64, pl.Float64), strict=True):
        if present and all(fits(value) for value in present):
            return pl.Series(values, dtype=kind)
    return pl.Series([None if value is None else str(value) for value in values], dtype=pl.String)
