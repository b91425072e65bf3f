"""`concertina compare`: runs side by side in the terminal, and as a page."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from analysis.compare.comparison import ComparedColumn, Comparison, compare
from analysis.compare.conditions import EXPERIMENT, NONE
from analysis.compare.report import write_comparison
from analysis.metrics.measure import measure
from analysis.run.reader import read_run
from analysis.wording import counted, number, signed
from testbed.errors import BadExperimentError
from testbed.run.text_table import TextTable, print_table

ONE_RUN = (
    "Frames and images of one run do not say how another run would differ; only repetitions do."
)

DIFFERENCES = 20
"""Differing conditions shown in the terminal; the page has all."""


def compare_runs(directories: Sequence[Path], out: Path | None, console: Console) -> int:
    """Print the comparison of run directories, write it to ``out`` if given.

    Raises ``NotARunError`` where one is no run, ``BadExperimentError`` where there is nothing to
    compare.
    """
    if len(directories) < 2:
        raise BadExperimentError("compare needs at least two run directories")
    paths = [directory.resolve() for directory in directories]
    if len(set(paths)) < len(paths):
        raise BadExperimentError("the same run directory is given twice")
    names = _names(paths)
    comparison = compare(
        [(name, measure(read_run(path))) for name, path in zip(names, paths, strict=True)]
    )
    _show_conditions(comparison, console)
    if not comparison.table.height:
        raise BadExperimentError(_nothing_in_common(comparison))
    _show(comparison, console)
    if out is not None:
        page = write_comparison(out, comparison)
        console.print(f"comparison: {page}", highlight=False, soft_wrap=True)
    return 0


def _names(paths: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as tell them apart."""
    common = Path(os.path.commonpath([path.parent for path in paths]))
    short = [path.name for path in paths]
    if len(set(short)) == len(short):
        return short
    return [str(path.relative_to(common)) for path in paths]


def _nothing_in_common(comparison: Comparison) -> str:
    """Say why there is no figure to compare: of a run that failed, that and why."""
    failed = [
        f"{column.name} failed: {run.summary.failure}"
        for column in comparison.columns
        for run in column.runs
        if run.summary.failure
    ]
    why = f"; {'; '.join(failed)}" if failed else ""
    return f"these runs have no figure in common{why}"


def _show_conditions(comparison: Comparison, console: Console) -> None:
    """Print what speaks against comparing, where the conditions differ, and which are the same."""
    for warning in comparison.warnings:
        _line(console, f"warning: {warning}", style="yellow")
    differing = [each for each in comparison.conditions if each.differs]
    names = [column.name for column in comparison.columns]
    for each in differing[:DIFFERENCES]:
        pairs = zip(each.values, names, strict=True)
        values = ", ".join(f"{value} ({name})" for value, name in pairs)
        _line(console, f"differs: {each.name}: {values}")
    if len(differing) > DIFFERENCES:
        _line(console, f"and {counted(len(differing) - DIFFERENCES, 'further difference')}")
    same = [each for each in comparison.conditions if not each.differs and each.values[0] != NONE]
    shown = [
        f"{each.name} {each.values[0]}" for each in same if not each.name.startswith(EXPERIMENT)
    ]
    if shown:
        _line(console, f"the same in all: {'; '.join(shown)}")


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def _show(comparison: Comparison, console: Console) -> None:
    for column in comparison.columns[1:]:
        for part in _tables(comparison, column):
            print_table(part, console)
    methods = set(comparison.table["method"]) - {""}
    for method in ("repetitions", "frames", "images"):
        if method in methods:
            _line(console, f"by {method}: {_METHODS[method]}")
    if methods - {"repetitions"}:
        _line(console, ONE_RUN)


_METHODS = {
    "repetitions": "Welch's t over the runs",
    "frames": "moving-block bootstrap over the frames of one run each",
    "images": "Newcombe's hybrid score for shares of images",
}


def _tables(comparison: Comparison, column: ComparedColumn) -> Iterator[TextTable]:
    """A table for each section of figures, under the names of the two columns."""
    first = comparison.columns[0]
    title = f"{column.name} ({_runs(column)}) against {first.name} ({_runs(first)})"
    compared = comparison.table.filter(pl.col("other") == column.name)
    headings = ("figure", "unit", first.name, column.name, "difference", "95 % interval", "by")
    for section in compared.partition_by("section", maintain_order=True):
        rows = tuple(_row(row) for row in section.iter_rows(named=True))
        yield TextTable(f"{title}: {section['section'][0]}", headings, rows, texts=(0, 1, 6))


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    digits = 0 if max(abs(row["first_value"]), abs(row["other_value"])) >= 1000 else 2
    interval = number(None)
    if row["low"] is not None:
        interval = f"{number(row['low'], digits)} to {number(row['high'], digits)}"
    return (
        row["figure"],
        row["unit"],
        number(row["first_value"], digits),
        number(row["other_value"], digits),
        signed(row["difference"], digits),
        interval,
        row["method"],
    )


def _runs(column: ComparedColumn) -> str:
    return counted(len(column.runs), "run")
