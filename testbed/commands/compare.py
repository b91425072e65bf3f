"""`concertina compare`: runs side by side in the terminal, and as a page."""

import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from analysis.compare.comparison import ComparedColumn, Comparison, compare
from analysis.compare.report import write_comparison
from analysis.metrics.measure import measure
from analysis.run.reader import read_run
from analysis.wording import number
from testbed.errors import BadExperimentError


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
    if not comparison.table.height:
        raise BadExperimentError("these runs have no figure in common")
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


def _show(comparison: Comparison, console: Console) -> None:
    for warning in comparison.warnings:
        console.print(f"warning: {warning}", style="yellow", highlight=False, markup=False)
    for column in comparison.columns[1:]:
        console.print(_table(comparison, column), highlight=False)
    methods = set(comparison.table["method"]) - {""}
    for method in ("repetitions", "frames", "images"):
        if method in methods:
            console.print(f"by {method}: {_METHODS[method]}", highlight=False)
    if methods - {"repetitions"}:
        console.print("Frames and images of one run do not say how another run would differ; "
                      "only repetitions do.", highlight=False)  # fmt: skip


_METHODS = {
    "repetitions": "Welch's t over the runs",
    "frames": "moving-block bootstrap over the frames of one run each",
    "images": "Newcombe's hybrid score for shares of images",
}


def _table(comparison: Comparison, column: ComparedColumn) -> Table:
    first = comparison.columns[0]
    table = Table(
        title=f"\n{column.name} ({_runs(column)}) against {first.name} ({_runs(first)})",
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column("figure", no_wrap=True, overflow="ellipsis")
    table.add_column("unit", no_wrap=True)
    for heading in (first.name, column.name, "difference", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True, max_width=22)
    table.add_column("by", no_wrap=True)
    section = None
    for row in comparison.table.filter(pl.col("other") == column.name).iter_rows(named=True):
        if row["section"] != section:
            section = row["section"]
            table.add_row(section, style="bold")
        digits = 0 if max(abs(row["first_value"]), abs(row["other_value"])) >= 1000 else 2
        interval = number(None)
        if row["low"] is not None:
            interval = f"{number(row['low'], digits)} to {number(row['high'], digits)}"
        table.add_row(
            f"  {row['figure']}",
            row["unit"],
            number(row["first_value"], digits),
            number(row["other_value"], digits),
            ("+" if row["difference"] > 0 else "") + number(row["difference"], digits),
            interval,
            row["method"],
        )
    return table


def _runs(column: ComparedColumn) -> str:
    count = len(column.runs)
    return "1 run" if count == 1 else f"{count} runs"
