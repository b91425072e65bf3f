"""The report of a run directory, and what is said of it at the end."""

from pathlib import Path

from rich.console import Console

from analysis.summary import Summary
from stage_node.records.run_directory import RunDirectory


def rebuild_report(directory: Path, console: Console) -> int:
    """Summary, plots and page of a run directory, anew; the same exit status as the run's."""
    from analysis.report.build import build_report

    ledger = RunDirectory(directory).ledger
    if any(ledger.glob("*.npy")):  # of a run that was killed before it converted them
        from stage_node.records.ledger import to_parquet

        to_parquet(ledger)
    return conclude(build_report(directory), directory, console)


def conclude(summary: Summary, directory: Path, console: Console) -> int:
    """Tell the verdict, what is wrong with the records, where the report is; 0 if all is well."""
    console.print(
        f"fidelity: {summary.fidelity.verdict}, {summary.fidelity.clock} clock", highlight=False
    )
    for reason in (*summary.fidelity.reasons, *summary.problems):
        console.print(f"  {reason}", highlight=False, markup=False)
    console.print(f"report: {RunDirectory(directory).report}", highlight=False, soft_wrap=True)
    return 1 if summary.fidelity.verdict == "fail" or summary.problems else 0
