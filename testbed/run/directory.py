"""Makes run directories and keeps their manifests; ``RunDirectory`` knows the files' names."""

import re
import time
from pathlib import Path

from stage_node.records.machine import MachineRecord
from stage_node.records.manifest import ManifestRecord
from stage_node.records.run_directory import EVENTS, RunDirectory
from testbed.errors import BadExperimentError


def create_run_directory(name: str, out: Path | None) -> RunDirectory:
    """Make a fresh directory: ``out`` if given (it must be empty), else ``runs/<time>-<name>``."""
    run = RunDirectory(fresh_directory(name, out))
    for folder in (run.ledger, run.captures, run.logs, run.link_requests):
        folder.mkdir()
    return run


def fresh_directory(name: str, out: Path | None) -> Path:
    """Make a new or empty directory with an event log: ``out``, or ``runs/<time>-<name>``.

    Raises BadExperimentError if ``out`` has something in it or cannot be written.
    """
    if out is None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        out = Path("runs") / f"{stamp}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}"
        while out.exists():
            out = out.with_name(out.name + "+")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadExperimentError(f"--out {out}: exists and is not an empty directory")
    path = out.resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / EVENTS).touch()
    except OSError as error:
        raise BadExperimentError(f"--out {out}: cannot be written: {error.strerror}") from error
    return path


def complete_manifest(run: RunDirectory) -> None:
    """Take what the emulation said of its machine into the manifest."""
    if run.machine.exists():
        manifest = ManifestRecord.read(run.manifest)
        manifest.completed(MachineRecord.read(run.machine)).write(run.manifest)
