"""The run directory: what a run leaves, and nothing else knows the file names."""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stage_node.records.events import LONE_PIPELINE
from testbed.errors import BadExperimentError

MANIFEST_SCHEMA = 1
EVENTS = "events.jsonl"


@dataclass(frozen=True)
class RunDirectory:
    """Names of the files below one run's directory (DESIGN section 7)."""

    path: Path

    @property
    def experiment(self) -> Path:
        """The resolved experiment: every default filled in, every profile spelled out."""
        return self.path / "experiment.yaml"

    @property
    def plan(self) -> Path:
        """The network and the processes on it, as the emulation is told."""
        return self.path / "plan.json"

    @property
    def manifest(self) -> Path:
        """What is needed to repeat the run: versions, kernel, host kind, commit, seed, clock."""
        return self.path / "manifest.json"

    @property
    def kernel_configuration(self) -> Path:
        """Configuration of the guest's kernel, where the clock was virtual."""
        return self.path / "kernel.config"

    @property
    def computing(self) -> Path:
        """What computing is charged: devices and tables; absent where it takes what it takes."""
        return self.path / "compute.json"

    @property
    def machine(self) -> Path:
        """What the emulation says of its machine and clocks. The manifest itself names paths and
        moments that differ from run to run, and is not for the emulation."""
        return self.path / "machine.json"

    @property
    def network(self) -> Path:
        """Hosts, interfaces, addresses and the links as configured."""
        return self.path / "network.json"

    @property
    def fidelity(self) -> Path:
        """What the probe measured of every link, and the verdict."""
        return self.path / "fidelity.json"

    @property
    def events(self) -> Path:
        """The append-only event log."""
        return self.path / EVENTS

    @property
    def failure(self) -> Path:
        """Why the emulation failed, when it did: error type, message, exit status."""
        return self.path / "failure.json"

    @property
    def link_requests(self) -> Path:
        """Folder of the changes of links that a user asked for, each with the tick it was taken
        at."""
        return self.path / "link-requests"

    def ladder(self, pipeline: str) -> Path:
        """Folder of a pipeline's ladder: its table, cuts and modules."""
        return self.path / f"ladder{_of(pipeline)}"

    def ladder_table(self, pipeline: str) -> Path:
        """The table of the ladder that a pipeline's controller worked with."""
        return self.path / f"ladder{_of(pipeline)}.json"

    @property
    def models(self) -> Path:
        """Folder of the models that the run's processes load."""
        return self.path / "models"

    @property
    def ledger(self) -> Path:
        """Folder of the frame, compute and result tables."""
        return self.path / "ledger"

    @property
    def captures(self) -> Path:
        """Folder of the packet captures, one file per interface."""
        return self.path / "captures"

    @property
    def capture_counters(self) -> Path:
        """tcpdump's own counters for every capture."""
        return self.path / "captures.json"

    @property
    def logs(self) -> Path:
        """Folder of the processes' standard output and error."""
        return self.path / "logs"

    @property
    def report(self) -> Path:
        """The page a person opens."""
        return self.path / "report.html"

    @classmethod
    def create(cls, name: str, out: Path | None) -> "RunDirectory":
        """A fresh directory: ``out`` if given (it must be empty), else ``runs/<time>-<name>``."""
        return cls(fresh_directory(name, out, ("ledger", "captures", "logs", "link-requests")))

    def complete_manifest(self) -> None:
        """Take what the emulation said of its machine into the manifest."""
        if self.machine.exists():
            self.update_manifest(**json.loads(self.machine.read_text()))

    def update_manifest(self, **values: Any) -> None:
        """Add or replace entries of the manifest."""
        present = json.loads(self.manifest.read_text()) if self.manifest.exists() else {}
        write_json(self.manifest, present | values)


def fresh_directory(name: str, out: Path | None, folders: Sequence[str] = ()) -> Path:
    """A new or empty directory with an event log and these folders: ``out``, or
    ``runs/<time>-<name>``.

    Raises BadExperimentError where ``out`` has something in it or cannot be written.
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
        for folder in ("", *folders):
            (path / folder).mkdir(parents=True, exist_ok=True)
        (path / EVENTS).touch()
    except OSError as error:
        raise BadExperimentError(f"--out {out}: cannot be written: {error.strerror}") from error
    return path


def _of(pipeline: str) -> str:
    """What is added to the names of a pipeline's files: nothing where there is but one."""
    return "" if pipeline == LONE_PIPELINE else f"-{pipeline}"


def write_json(path: Path, value: Any) -> None:
    """Write JSON the way every file of a run directory is written."""
    path.write_text(json.dumps(value, indent=2, default=str) + "\n")
