"""Reads a run directory: the only module that knows its files."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import yaml
from pydantic import BaseModel, ValidationError

from analysis.capture.packets import PACKET_SCHEMA
from analysis.capture.reader import read_capture
from analysis.errors import DamagedCaptureError, NotARunError, first_line
from analysis.run.clock import Clock
from analysis.run.computing import ComputingRecord
from analysis.run.ledger import read_table
from analysis.run.network import Described, Network
from stage_node.records.events import LONE_PIPELINE, Event, Phase, read_events
from stage_node.records.run_directory import RunDirectory
from stage_node.records.vocabulary import ClockKind, Direction, SummaryVerdict

EventT = TypeVar("EventT", bound=Event)


class LinkProbe(Described):
    """What the probe measured of one direction of a link; no goodput where loss would set it.

    ``attempt_errors`` has an entry per measurement; the records of older runs lack it.
    """

    link: str
    direction: Direction
    goodput_mbit: float | None
    goodput_error: float | None = None
    attempt_errors: tuple[float, ...] | None = None

    @property
    def attempts(self) -> int | None:
        """Measurements of the goodput; None if the record does not tell."""
        return None if self.attempt_errors is None else len(self.attempt_errors)


class RttProbe(Described):
    """What the probe measured of a link's round trip."""

    link: str
    rtt_min_ms: float | None
    expected_ms: float | None = None


class QdiscCounters(Described):
    """What the kernel counted for one direction of a link."""

    link: str
    direction: Direction
    sent_bytes: int
    dropped_packets: int


class CpuIdle(Described):
    """Idle CPU while the network was to set the pace: least share, and seconds sampled."""

    per_second_min_share: float | None = None
    seconds: int | None = None


class Pauses(Described):
    """Of the time in which the network was to set the pace: when nothing of the emulation ran."""

    share: float | None = None
    longest_ms: float | None = None


class Targets(Described):
    """The accuracy floor of the compression loop."""

    min_accuracy: float | None = None
    max_accuracy_loss_points: float | None = None


class PipelineWish(Described):
    """What the experiment asked of the split model."""

    targets: Targets | None = None


class Experiment(Described):
    """``experiment.yaml``, as far as figures are compared with it."""

    pipeline: PipelineWish | None = None
    pipelines: dict[str, PipelineWish] | None = None

    @property
    def targets(self) -> dict[str, Targets]:
        """What was asked of each pipeline, by its name, in the order of the file."""
        wishes = self.pipelines or {}
        if self.pipeline:
            wishes = {LONE_PIPELINE: self.pipeline}
        return {name: wish.targets or Targets() for name, wish in wishes.items()}


class FidelityRecord(Described):
    """``fidelity.json``."""

    verdict: SummaryVerdict
    clock: ClockKind = "real"
    reasons: tuple[str, ...] = ()
    links: tuple[LinkProbe, ...] = ()
    rtt: tuple[RttProbe, ...] = ()
    qdisc: tuple[QdiscCounters, ...] = ()
    cpu_idle: CpuIdle = CpuIdle()
    pauses: Pauses | None = None

    def goodput_mbit(self, link: str, direction: Direction) -> float | None:
        """Measured TCP goodput of one direction of a link."""
        return next(
            (p.goodput_mbit for p in self.links if (p.link, p.direction) == (link, direction)), None
        )

    def attempts(self, link: str, direction: Direction) -> int | None:
        """How often the probe measured the goodput of one direction of a link."""
        return next(
            (p.attempts for p in self.links if (p.link, p.direction) == (link, direction)), None
        )

    def rtt_ms(self, link: str) -> float | None:
        """Measured minimum round-trip time of a link."""
        return next((probe.rtt_min_ms for probe in self.rtt if probe.link == link), None)

    def counters(self, link: str, direction: Direction) -> QdiscCounters | None:
        """The kernel's counters of one direction of a link."""
        return next((q for q in self.qdisc if (q.link, q.direction) == (link, direction)), None)


@dataclass(frozen=True)
class Run:
    """Everything that a run left, captures included; all times are monotonic.

    ``targets`` are those of each pipeline, by its name, in the order of the experiment.
    ``computing`` is what that was charged, if it was.
    ``captures`` maps an interface to its packets. ``problems`` lists what is missing or damaged
    without making the rest useless.
    """

    name: str
    manifest: dict[str, Any]
    experiment: str
    targets: dict[str, Targets]
    failure: str | None
    network: Network
    fidelity: FidelityRecord
    computing: ComputingRecord | None
    capture_counters: tuple[dict[str, Any], ...]
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
    files = RunDirectory(path)
    manifest = _json(files.manifest)
    if "clock" not in manifest:  # the run was killed before it took over what the emulation says
        manifest |= _json(files.machine, {})
    network = _model(Network, files.network)
    events = _events(files.events)
    problems = _unfinished(events)
    try:
        clock = Clock.of(manifest["clock"])
    except (KeyError, TypeError, ValueError) as error:
        raise NotARunError(f"{path}: manifest.json has no clock pairs: {error!r}") from None
    return Run(
        name=str(manifest.get("name", path.name)),
        manifest=manifest,
        experiment=_text(files.experiment),
        targets=_targets(files.experiment),
        failure=_failure(files.failure),
        network=network,
        fidelity=_fidelity(files.fidelity),
        computing=_computing(files.computing),
        capture_counters=_capture_counters(files.capture_counters, problems),
        events=events,
        frames=read_table(files, "frames", events, problems),
        compute=read_table(files, "compute", events, problems),
        results=read_table(files, "results", events, problems),
        captures=_captures(files, network, clock, problems),
        problems=tuple(problems),
    )


def _targets(path: Path) -> dict[str, Targets]:
    """The floors that the experiment set, by pipeline; without one where it has none."""
    try:
        experiment = Experiment.model_validate(yaml.safe_load(_text(path)) or {})
    except (yaml.YAMLError, ValidationError) as error:
        raise NotARunError(f"{path}: not an experiment: {first_line(error)}") from None
    return experiment.targets


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _json(path: Path, missing: Any = None) -> Any:
    if not path.exists():
        if missing is not None:
            return missing
        raise NotARunError(f"{path.parent}: not a run directory, {path.name} is missing")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise NotARunError(f"{path}: not JSON: {error}") from None


ModelT = TypeVar("ModelT", bound=BaseModel)


def _model(model: type[ModelT], path: Path) -> ModelT:
    try:
        return model.model_validate(_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotARunError(f"{path}: {where}: {first['msg']}") from None


def _fidelity(path: Path) -> FidelityRecord:
    if path.exists():
        return _model(FidelityRecord, path)
    reason = "no fidelity.json: the run ended before its network was judged"
    return FidelityRecord(verdict="unknown", reasons=(reason,))


def _computing(path: Path) -> ComputingRecord | None:
    return _model(ComputingRecord, path) if path.exists() else None


def _failure(path: Path) -> str | None:
    return str(_json(path).get("message", "unknown")) if path.exists() else None


def _events(path: Path) -> tuple[Event, ...]:
    if not path.exists():
        raise NotARunError(f"{path.parent}: not a run directory, {path.name} is missing")
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


def _capture_counters(path: Path, problems: list[str]) -> tuple[dict[str, Any], ...]:
    if not path.exists():
        problems.append(f"{path.name} is missing: nobody counted the packets that captures lost")
    return tuple(_json(path, []))


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
