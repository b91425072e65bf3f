"""report."""

from pathlib import Path

from analysis.rundir import Run
from analysis.summary import Summary


def write_report(path: Path, run: Run, summary: Summary, shown: list[tuple[Path, str]]) -> None:
    """x."""
