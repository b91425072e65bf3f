"""Reads a run directory: every file by its record, the captures by their own reader."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import polars as pl
import yaml
from pydantic import ValidationError

from analysis.capture.packets import PACKET_SCHEMA
from analysis.capture.reader import read_capture
from analysis.errors import DamagedCaptureError, NotARunError, first_line
from analysis.run.clock import Clock
from analysis.run.ledger import read_table
from analysis.run.network import Network
from stage_node.records.captures import CaptureCounters, CapturesRecord
from stage_node.records.computing import ComputingRecord
from stage_node.records.events import Event, Phase, read_events
from stage_node.records.experiment import AccuracyTargets, ExperimentRecord
from stage_node.records.fidelity import FidelityRecord
from stage_node.records.machine import FailureRecord, MachineRecord
from stage_node.records.manifest import ManifestRecord
from stage_node.records.record import BadRecordError, read_record
from stage_node.records.run_directory import RunDirectory
from stage_node.records.vocabulary import ClockKind

EventT = TypeVar("EventT", bound=Event)


@dataclass(frozen=True)
class Run:
    """Everything that a run left, captures included; all times are monotonic.

    ``targets`` has each pipeline's, by its name, in the order of the experiment.
    ``computing`` is what that was charged, if it was.
    ``captures`` maps an interface to its packets. ``problems`` lists what is missing or damaged
    without making the rest useless.
    """

    name: str
    manifest: ManifestRecord
    experiment: str
    targets: dict[str, AccuracyTargets]
    failure: str | None
    network: Network
    fidelity: FidelityRecord
    computing: ComputingRecord | None
    capture_counters: tuple[CaptureCounters, ...]
    events: tuple[Event, ...]
    frames: pl.DataFrame
    compute: pl.DataFrame
    results: pl.DataFrame
    captures: dict[str, pl.DataFrame]
    problems: tuple[str, ...] = field(default=())

    def events_of(self, kind: type[EventT]) -> tuple[EventT, ...]:
        """The events of one type, in the order of time."""
        chosen = (event for event in self.events if isinstance(event, kind))
        return tuple(sorted(chosen, key=lambda event: event.t_ns))

    @property
    def begin_ns(self) -> int:
        """The earliest event: zero of the report's time axes."""
        return min((event.t_ns for event in self.events), default=0)


def read_run(path: Path) -> Run:
    """Read a run directory.

    Raises ``NotARunError`` with one line when it is none: a file that every run has is missing or
    is not what it should be. What a run may lack is listed in ``problems``.
    """
    if not path.is_dir():
        raise NotARunError(f"{path}: no such directory")
    run = RunDirectory(path)
    try:
        return _read(run)
    except BadRecordError as error:
        raise NotARunError(str(error)) from None


def _read(run: RunDirectory) -> Run:
    manifest = ManifestRecord.read(_present(run.manifest))
    if manifest.clock is None and run.machine.exists():
        manifest = manifest.completed(MachineRecord.read(run.machine))
    network = Network.read(_present(run.network))
    events = _events(_present(run.events))
    if not manifest.clock:
        raise NotARunError(f"{run.path}: {run.manifest.name} has no clock pairs")
    problems = _unfinished(events)
    clock = Clock.of(manifest.clock)
    return Run(
        name=manifest.name,
        manifest=manifest,
        experiment=_text(run.experiment),
        targets=_targets(run.experiment),
        failure=FailureRecord.read(run.failure).message if run.failure.exists() else None,
        network=network,
        fidelity=_fidelity(run.fidelity, manifest.clock_kind),
        computing=_computing(run.computing),
        capture_counters=_capture_counters(run.capture_counters, problems),
        events=events,
        frames=read_table(run, "frames", events, problems),
        compute=read_table(run, "compute", events, problems),
        results=read_table(run, "results", events, problems),
        captures=_captures(run, network, clock, problems),
        problems=tuple(problems),
    )


def _present(file: Path) -> Path:
    """A file that every run has."""
    if not file.exists():
        raise NotARunError(f"{file.parent}: not a run directory, {file.name} is missing")
    return file


def _targets(path: Path) -> dict[str, AccuracyTargets]:
    """The floors that the experiment set, by pipeline; without one where it has none."""
    try:
        experiment = ExperimentRecord.model_validate(yaml.safe_load(_text(path)) or {})
    except (yaml.YAMLError, ValidationError) as error:
        raise NotARunError(f"{path}: not an experiment: {first_line(error)}") from None
    return experiment.targets


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _fidelity(path: Path, clock: ClockKind) -> FidelityRecord:
    """The verdict; unknown, on the clock that the run was to have, if it ended before."""
    if path.exists():
        return FidelityRecord.read(path)
    reason = f"no {path.name}: the run ended before its network was judged"
    return FidelityRecord(verdict="unknown", clock=clock, reasons=(reason,))


def _computing(path: Path) -> ComputingRecord | None:
    return read_record(ComputingRecord, path) if path.exists() else None


def _events(path: Path) -> tuple[Event, ...]:
    try:
        return tuple(read_events(path))
    except (ValueError, KeyError, TypeError) as error:
        raise NotARunError(f"{path}: not an event log: {error!r}") from None


def _unfinished(events: tuple[Event, ...]) -> list[str]:
    """Phases that began and did not end: a run that went to its end has none."""
    phases = [event for event in events if isinstance(event, Phase)]
    ended = {phase.phase for phase in phases if phase.state == "end"}
    return [
        f"the run ended in the middle of its phase {phase.phase}"
        for phase in phases
        if phase.state == "begin" and phase.phase not in ended
    ]


def _capture_counters(path: Path, problems: list[str]) -> tuple[CaptureCounters, ...]:
    if not path.exists():
        problems.append(f"{path.name} is missing: packets that captures lost were not counted")
        return ()
    return CapturesRecord.read(path).captures


def _captures(
    run: RunDirectory, network: Network, clock: Clock, problems: list[str]
) -> dict[str, pl.DataFrame]:
    captures = {}
    for link in network.links:
        for interface in (link.a.interface, link.b.interface):
            file = run.capture(interface)
            packets = _packets(file, problems)
            times = clock.to_monotonic(packets["t_ns"].to_numpy())
            captures[interface] = packets.with_columns(pl.Series("t_ns", times))
    return captures


def _packets(file: Path, problems: list[str]) -> pl.DataFrame:
    if not file.exists():
        problems.append(f"capture {file.name} is missing")
        return pl.DataFrame(schema=PACKET_SCHEMA)
    try:
        capture = read_capture(file)
    except (DamagedCaptureError, OSError) as error:
        problems.append(f"capture {file.name} cannot be read: {first_line(error)}")
        return pl.DataFrame(schema=PACKET_SCHEMA)
    if capture.damage:
        problems.append(f"capture {file.name} is damaged: {capture.damage}")
    return capture.packets
