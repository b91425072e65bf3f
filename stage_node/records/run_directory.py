"""The run directory: the names of all files of a run. Nothing else knows them."""

from dataclasses import dataclass
from pathlib import Path

from stage_node.records.events import LONE_PIPELINE

EVENTS = "events.jsonl"
"""The event log, in a run directory and wherever else events are written."""


@dataclass(frozen=True)
class RunDirectory:
    """Names of the files below one run's directory (DESIGN section 7).

    Each file's model is in the module of this package that bears its name.
    """

    path: Path

    @property
    def experiment(self) -> Path:
        """The resolved experiment: every default filled in, every profile spelled out."""
        return self.path / "experiment.yaml"

    @property
    def plan(self) -> Path:
        """The network and the processes on it, as the emulation receives them."""
        return self.path / "plan.json"

    @property
    def manifest(self) -> Path:
        """File of what a repetition needs: versions, kernel, host kind, commit, seed, clock."""
        return self.path / "manifest.json"

    @property
    def kernel_configuration(self) -> Path:
        """Configuration of the guest's kernel, where the clock was virtual."""
        return self.path / "kernel.config"

    @property
    def computing(self) -> Path:
        """File of the charges of computing: devices and tables; absent if none is charged."""
        return self.path / "compute.json"

    @property
    def machine(self) -> Path:
        """File of the emulation's machine and clocks. The manifest itself names paths and
        moments that differ from run to run, and is not for the emulation."""
        return self.path / "machine.json"

    @property
    def network(self) -> Path:
        """Hosts, interfaces, addresses and the links as configured."""
        return self.path / "network.json"

    @property
    def fidelity(self) -> Path:
        """File of the probe's measurements of every link, and the verdict."""
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

    @property
    def open_requests(self) -> Path:
        """Folder of link requests that wait; there while an emulation takes any."""
        return self.path / "requests"

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
    def emulation_log(self) -> Path:
        """Standard output and error of the emulation itself."""
        return self.logs / "emulation.log"

    @property
    def summary(self) -> Path:
        """The figures of the run."""
        return self.path / "summary.json"

    @property
    def plots(self) -> Path:
        """Folder of the report's plots and their data."""
        return self.path / "plots"

    @property
    def report(self) -> Path:
        """The page a person opens."""
        return self.path / "report.html"

    def capture(self, interface: str) -> Path:
        """Packets seen on one interface."""
        return self.captures / f"{interface}.pcap"

    @property
    def made_by_a_run(self) -> frozenset[str]:
        """Names of all that a run leaves; everything else was there before it began."""
        files = (
            *(self.manifest, self.machine, self.events, self.network, self.fidelity),
            *(self.failure, self.open_requests, self.captures, self.capture_counters),
            *(self.ledger, self.logs, self.plots, self.report, self.summary),
        )
        return frozenset(file.name for file in files)


def _of(pipeline: str) -> str:
    """Suffix of the names of a pipeline's files; empty if it is the only one."""
    return "" if pipeline == LONE_PIPELINE else f"-{pipeline}"
