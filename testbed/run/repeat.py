"""``concertina repeat``: a run again, from its directory alone, and whether it is the same."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from analysis.compare.identity import Difference, captures, fingerprint, first_difference
from stage_node.records.manifest import ManifestRecord
from stage_node.records.record import BadRecordError
from stage_node.records.run_directory import RunDirectory
from testbed.errors import BadExperimentError, RunFailedError, RunInterruptedError
from testbed.hosts.choose import ChosenHost, HostWish, choose_host
from testbed.interruption import Stopped, stopped_by_signals
from testbed.kernel.build import ensure_kernel
from testbed.planning.plan import RunPlan
from testbed.run.directory import create_run_directory
from testbed.run.manifest import describe_code
from testbed.run.runner import describe_origin, emulate, failure_of
from testbed.run.running_lock import goes_on


def repeat_run(directory: Path, out: Path | None, console: Console) -> int:
    """Run a run directory again and compare the captures; the exit status for the shell.

    0: identical; 1: not. Raises BadExperimentError where the directory is none, or its clock was
    the machine's, RunFailedError, RunInterruptedError.
    """
    first = RunDirectory(directory.resolve())
    plan, manifest = _read(first, directory)
    if goes_on(first.path):
        raise BadExperimentError(f"{directory}: the run is still under way")
    if not captures(first.path):
        raise BadExperimentError(f"{directory}: has no captures to compare with")
    choice = choose_host(HostWish("microvm", "virtual"), lambda: ensure_kernel(console))
    for note in differences_of_machines(manifest, choice):
        console.print(f"note: {note}", highlight=False, markup=False)
    with _second_directory(first, out) as second:
        describe_origin(second, manifest.name, plan, choice)
        try:
            with stopped_by_signals():
                status = emulate(plan, second, choice.host, console)
        except Stopped as error:
            raise RunInterruptedError(
                "interrupted; nothing is left running", error.signal_number
            ) from error
        failure = failure_of(second, status)
        if failure is not None and not first.failure.exists():
            raise RunFailedError(f"the second run failed: {failure}")
        difference = first_difference(first.path, second.path)
        if difference is None:
            same = fingerprint(first.path)
            console.print(
                f"identical: {same.packets:,} packets in {same.captures} captures "
                f"(SHA-256 {same.everything_sha256[:16]})",
                highlight=False,
            )
            return 0
        _show(difference, console)
        return 1


def differences_of_machines(manifest: ManifestRecord, choice: ChosenHost) -> Iterator[str]:
    """Conditions that may make the second run differ from the first, a line each."""
    kernel = manifest.guest_kernel
    assert choice.kernel is not None, "the clock is virtual"
    ours = choice.kernel.version, choice.kernel.configuration_hash
    theirs = (kernel.version, kernel.configuration_hash) if kernel else ("unknown", "unknown")
    if ours != theirs:
        yield (
            f"the first run's kernel was {theirs[0]} ({theirs[1][:12]}), this is {ours[0]} "
            f"({ours[1][:12]})"
        )
    then, now = manifest.code, describe_code()
    if then.git_commit != now.git_commit:
        yield (
            f"the first run was of commit {str(then.git_commit)[:12]}, this is "
            f"{str(now.git_commit)[:12]}"
        )
    elif then.git_dirty or now.git_dirty:
        yield "the code was changed since its commit, in the first run or now"


def _read(run: RunDirectory, said: Path) -> tuple[RunPlan, ManifestRecord]:
    """The plan and the manifest of a run that can be repeated."""
    if not (run.manifest.is_file() and run.plan.is_file()):
        raise BadExperimentError(f"{said}: not a run directory")
    try:
        manifest = ManifestRecord.read(run.manifest)
        plan = RunPlan.model_validate_json(run.plan.read_text())
    except BadRecordError as error:
        raise BadExperimentError(str(error)) from None
    except ValidationError as error:
        raise BadExperimentError(
            f"{said}: not the plan of a run: {error}".splitlines()[0]
        ) from None
    if plan.clock != "virtual":
        raise BadExperimentError(
            f"{said}: ran on the real clock, which shows what else the machine did; only runs on "
            "the virtual clock repeat"
        )
    return plan, manifest


@contextmanager
def _second_directory(first: RunDirectory, out: Path | None) -> Iterator[RunDirectory]:
    """A directory with all that the first run began with; gone at the end unless it is ``out``."""
    with tempfile.TemporaryDirectory(prefix="concertina-repeat-") as temporary:
        second = create_run_directory("repeat", out or Path(temporary) / "run")
        for entry in first.path.iterdir():
            if entry.name in first.made_by_a_run:
                continue
            if entry.is_dir():
                shutil.copytree(entry, second.path / entry.name, dirs_exist_ok=True)
            else:
                shutil.copyfile(entry, second.path / entry.name)
        yield second


def _show(difference: Difference, console: Console) -> None:
    """Print the first packet that differs, from both runs."""
    lines = [
        f"different: packet {difference.number + 1} of {difference.capture} is the first",
        f"  first run:  {difference.first or 'has no such packet'}",
        f"  second run: {difference.second or 'has no such packet'}",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
