"""Runs one experiment: chooses the host, starts the emulation, shows it, builds the report."""

import json
import sys
import time
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from analysis.build import build_report
from analysis.summary import Summary
from controller.ladder_builder import build_ladder
from controller.ladder_request import ensure_ladder
from stage_node.ledger import to_parquet
from testbed.errors import BadExperimentError, RunFailedError, RunInterruptedError
from testbed.experiment import load_experiment
from testbed.hosts.choose import choose_host
from testbed.ladders import ladder_tables, read_table
from testbed.manifest import describe_code, describe_machine
from testbed.networks import build_network
from testbed.planning import plan_pipeline, plan_run
from testbed.progress import RunDisplay
from testbed.rundir import RunDirectory
from testbed.validation import check_experiment


def run_experiment(
    file: Path, assignments: list[str], host: str, out: Path | None, console: Console
) -> int:
    """Run an experiment file and leave its run directory; the exit status for the shell.

    0: done and every link was what it claims; 1: it was not (the report says where). Raises
    BadExperimentError before anything starts, RunFailedError when the emulation failed,
    RunInterruptedError on Ctrl-C.
    """
    experiment = load_experiment(file, assignments)
    check_experiment(experiment, str(file))
    choice = choose_host(host)
    console.print(f"host: {choice.kind} ({choice.reason})", highlight=False)
    run = RunDirectory.create(experiment.name, out)
    console.print(f"run directory: {run.path}", highlight=False, soft_wrap=True)
    run.experiment.write_text(
        yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    )
    with console.status("planning"):
        run.plan.write_text(plan_run(experiment, run).model_dump_json(indent=2))
    run.update_manifest(
        schema=1,
        name=experiment.name,
        seed=experiment.seed,
        host=choice.kind,
        started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        command=sys.argv[1:],
        code=describe_code(),
        outer_machine=describe_machine(),
    )
    try:
        with RunDisplay(run.events, console):
            status = choice.host.run(
                [sys.executable, "-m", "testbed.emulation", str(run.path)], writable=run.path
            )
    except KeyboardInterrupt as error:
        raise RunInterruptedError(
            f"interrupted; nothing is left running, what was recorded is in {run.path}"
        ) from error
    _raise_failure(run, status)
    with console.status("analysing captures and drawing the report"):
        to_parquet(run.ledger)
        summary = build_report(run.path)
    return _conclude(run, summary, console)


def experiment_ladder(file: Path, assignments: list[str], console: Console) -> list[Table]:
    """The tables of the ladder that a run of the experiment would use; one per cut."""
    experiment = load_experiment(file, assignments)
    check_experiment(experiment, str(file))
    if experiment.pipeline is None:
        raise BadExperimentError(f"{file}: has no pipeline section, and so no ladder")
    plan = plan_pipeline(experiment.pipeline, build_network(experiment.network))
    with console.status("measuring the ladder (once; it is kept)"):
        folder = ensure_ladder(plan.ladder_request, build_ladder)
    return ladder_tables(read_table(folder))


def _raise_failure(run: RunDirectory, status: int) -> None:
    """Turn the emulation's own error into ours."""
    if run.failure.exists():
        failure = json.loads(run.failure.read_text())
        raise RunFailedError(f"{failure['message']} (logs in {run.logs})")
    if status != 0:
        raise RunFailedError(f"the emulation ended with status {status} (logs in {run.logs})")


def _conclude(run: RunDirectory, summary: Summary, console: Console) -> int:
    console.print(f"fidelity: {summary.fidelity.verdict}", highlight=False)
    for reason in summary.fidelity.reasons:
        console.print(f"  {reason}", highlight=False, markup=False)
    console.print(f"report: {run.report}", highlight=False, soft_wrap=True)
    return 1 if summary.fidelity.verdict == "fail" else 0
