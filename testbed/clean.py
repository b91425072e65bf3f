"""Ends what a killed run may have left, and touches nothing that belongs to anyone else."""

import shutil
from collections.abc import Iterator
from pathlib import Path


def clean_up(runs: bool) -> Iterator[str]:
    """End left-overs; with ``runs`` also delete the run directories. One line per thing done."""
    from testbed.hosts.leftovers import end_leftovers

    ended = list(end_leftovers())
    yield from ended
    if not ended:
        yield "nothing of an earlier run was left behind"
    if runs:
        yield from _delete_runs(Path("runs"))


def _delete_runs(folder: Path) -> Iterator[str]:
    """Delete what has a manifest, and so was a run."""
    directories = sorted(entry.parent for entry in folder.glob("*/manifest.json"))
    for directory in directories:
        shutil.rmtree(directory)
        yield f"deleted {directory}"
    if not directories:
        yield "no run directories to delete"
