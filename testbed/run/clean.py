"""Ends what a killed run may have left, and touches nothing that belongs to anyone else."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from stage_node.records.manifest import ManifestRecord
from stage_node.records.record import BadRecordError
from stage_node.records.run_directory import RunDirectory
from testbed.hosts.leftovers import end_leftovers


def clean_up() -> Iterator[str]:
    """End left-overs of runs whose own process is gone; one line per thing done."""
    ended = list(end_leftovers())
    yield from ended or ["nothing of an earlier run was left behind"]


def run_directories(folder: Path) -> list[Path]:
    """The directories below ``folder`` that a run of Concertina made."""
    return sorted(entry for entry in folder.glob("*") if _is_run(RunDirectory(entry)))


def delete_runs(directories: list[Path]) -> None:
    """Delete run directories with all that is in them."""
    for directory in directories:
        shutil.rmtree(directory)


def _is_run(run: RunDirectory) -> bool:
    if not (run.manifest.is_file() and run.plan.is_file() and run.events.is_file()):
        return False
    try:
        ManifestRecord.read(run.manifest)
    except BadRecordError:
        return False
    return True
