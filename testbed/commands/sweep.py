"""``concertina sweep``: what can be asked for. The work is in testbed.sweep.run."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from testbed.commands.options import ClockOption, HostKind, HostOption, wish

SweepArgument = Annotated[
    Path,
    typer.Argument(metavar="SWEEP.yaml", help="A sweep file, or the name of a shipped one."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", help="Sweep directory, new or to go on with; `runs/sweep-NAME`."
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", min=1, help="Cells at once, at most; default: as many as CPUs."),
]
Dask = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS",
        help="Scheduler of a Dask cluster, `tcp://HOST:PORT`. Its workers have one thread each, "
        "Concertina, and the sweep directory under the same path.",
    ),
]
RetryDisturbed = Annotated[
    bool,
    typer.Option(
        "--retry-disturbed", help="Run those again as well whose links were not what they claim."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything and print the cells.")]


def sweep(
    file: SweepArgument,
    out: Out = None,
    host: HostOption = HostKind.AUTO,
    clock: ClockOption = None,
    jobs: Jobs = None,
    dask: Dask = None,
    retry_disturbed: RetryDisturbed = False,
    dry_run: DryRun = False,
) -> None:
    """Run an experiment for every combination of parameters, several times, and compare.

    Every cell, one combination once, is a run of its own with a directory of its own, in a microVM
    of its own, on a CPU that no other cell has; as many at once as there are CPUs. All cells are
    checked before the first one starts. Interrupted, or with cells that failed, the same command
    continues with what is left.

    At the end: `table.parquet` and `table.csv` with a row for each cell, `intervals.csv`, and
    `plots/` with 95 % confidence intervals of the means (Student's t over the repetitions).
    """
    from testbed.sweep.run import Workers, list_cells, run_sweep

    console = Console()
    if dry_run:
        list_cells(file, console)
        return
    workers = Workers(jobs or len(os.sched_getaffinity(0)), dask)
    raise typer.Exit(run_sweep(file, wish(host, clock), out, workers, retry_disturbed, console))
