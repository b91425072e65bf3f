"""Runs one experiment: chooses the host, starts the emulation, shows it, builds the report."""

import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import yaml
from rich.console import Console

from analysis.report.build import build_report
from stage_node.data import data_folder
from stage_node.records.events import LONE_PIPELINE
from stage_node.records.ledger import to_parquet
from stage_node.records.machine import FailureRecord
from stage_node.records.manifest import ManifestRecord
from stage_node.records.run_directory import RunDirectory
from testbed.errors import BadExperimentError, RunFailedError, RunInterruptedError
from testbed.experiment.file import Experiment
from testbed.hosts.choose import ChosenHost, HostWish, check_wish, choose_host, tell_choice
from testbed.hosts.environment import PYTHON
from testbed.hosts.host import Host
from testbed.interruption import Stopped, stopped_by_signals
from testbed.kernel.build import ensure_kernel
from testbed.planning.checked import CheckedExperiment
from testbed.planning.ladders import (
    AMPLE_WIDTH,
    check_measured,
    ladder_tables,
    measured_ladder,
    read_table,
)
from testbed.planning.plan import RunPlan
from testbed.planning.processes import plan_pipelines, plan_run
from testbed.run.directory import complete_manifest, create_run_directory
from testbed.run.manifest import describe_code, describe_machine, describe_software
from testbed.run.progress import RunDisplay
from testbed.run.reporting import conclude
from testbed.run.running_lock import going_on


def run_experiment(
    checked: CheckedExperiment, wish: HostWish, out: Path | None, console: Console
) -> int:
    """Run an experiment and leave its run directory; the exit status for the shell.

    0: done, and every link was what it claims; 1: it was not, or records are missing (the report
    says what). Raises BadExperimentError, before anything starts, if the ladder cannot do what is
    asked, RunFailedError when the emulation failed (the report then shows what was recorded),
    RunInterruptedError on Ctrl-C or SIGTERM.
    """
    experiment = checked.experiment
    wish = replace(wish, clock=wish.clock or experiment.clock)
    check_wish(wish)
    with console.status("measuring the compression ladder (once; it is kept)"):
        for pipeline in plan_pipelines(checked):
            check_measured(pipeline, checked.origin)
    choice = choose_host(wish, lambda: ensure_kernel(console))
    tell_choice(choice, console)
    run = create_run_directory(experiment.name, out)
    console.print(f"run directory: {run.path}", highlight=False, soft_wrap=True)
    plan = plan_run(checked, run, choice.clock, choice.pace)
    describe(run, experiment, plan, choice)
    try:
        with stopped_by_signals():
            status = emulate(plan, run, choice.host, console)
            with console.status("analysing captures and drawing the report"):
                summary = build_report(run.path) if run.network.exists() else None
    except Stopped as error:
        raise RunInterruptedError(
            f"interrupted; nothing is left running; `concertina report {run.path}` shows what was "
            "recorded",
            error.signal_number,
        ) from error
    failure = failure_of(run, status)
    if failure is not None:
        raise RunFailedError(f"{failure} (logs in {run.logs})")
    assert summary is not None, "an emulation without a network has failed"
    return conclude(summary, run.path, console)


def emulate(plan: RunPlan, run: RunDirectory, host: Host, console: Console) -> int:
    """Carry a plan out in its host; its exit status. The ledgers can be read however it ends."""
    data = data_folder()
    try:
        with (
            RunDisplay(run.events, console, plan.clock),
            going_on(run.path),
            tempfile.TemporaryDirectory() as nothing,
        ):
            return host.run(
                [PYTHON, "-m", "testbed.run.emulation"],
                writable=run.path,
                # always something, for what is mounted in a guest moves its clock
                readable={"CONCERTINA_DATA": data if data.is_dir() else Path(nothing)},
                seed=plan.seed,
            )
    finally:
        to_parquet(run.ledger)
        complete_manifest(run)


def show_ladder(checked: CheckedExperiment, console: Console) -> None:
    """Print the ladders that a run of the experiment would use: one table per cut.

    As wide as a terminal is; into a pipe or a file, as wide as the tables are.
    """
    if not checked.pipelines:
        raise BadExperimentError(f"{checked.origin}: has no pipeline section, and so no ladder")
    if not console.is_terminal:
        console.width = AMPLE_WIDTH
    for plan in plan_pipelines(checked):
        with console.status("measuring the compression ladder (once; it is kept)"):
            folder = measured_ladder(plan)
        if plan.name != LONE_PIPELINE:
            console.print(f"pipeline {plan.name}", style="bold", highlight=False)
        for table in ladder_tables(read_table(folder), console.width):
            console.print(table)


def describe(run: RunDirectory, experiment: Experiment, plan: RunPlan, choice: ChosenHost) -> None:
    """Write down what is about to run: the resolved experiment, the plan, the manifest."""
    run.experiment.write_text(
        yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    )
    run.plan.write_text(plan.model_dump_json(indent=2))
    if choice.kernel is not None:
        shutil.copyfile(choice.kernel.configuration, run.kernel_configuration)
    describe_origin(run, experiment.name, plan, choice)


def describe_origin(run: RunDirectory, name: str, plan: RunPlan, choice: ChosenHost) -> None:
    """Write into the manifest where, when, by what and with which clock and seed a run is made."""
    manifest = ManifestRecord(
        name=name,
        host=choice.kind,
        clock_kind=plan.clock,
        pace=plan.pace,
        seed=plan.seed,
        guest_kernel=choice.kernel,
        started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        command=tuple(sys.argv[1:]),
        code=describe_code(),
        outer_machine=describe_machine(),
        software=describe_software(),
    )
    manifest.write(run.manifest)


def failure_of(run: RunDirectory, status: int) -> str | None:
    """Why an emulation failed, in its own words where it left any; None if it did not."""
    if run.failure.exists():
        return FailureRecord.read(run.failure).message
    return f"the emulation ended with status {status}" if status else None
