"""The events of a run: typed, append-only, one JSON object per line.

Every process of a run appends to the same ``events.jsonl``; a line is written by one
``write(2)`` on a file opened with ``O_APPEND``, so lines never interleave. Progress bars
and the analysis read the file; nobody rewrites it. Times are ``CLOCK_MONOTONIC``.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from stage_node.records.vocabulary import Direction

NOW = -1
"""``t_ns`` of an event that happens as its log takes it."""

LONE_PIPELINE = "pipeline"
"""What the only split model of a run is called."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened; a subclass per kind.

    ``t_ns`` is the monotonic clock of the emulation when it happened, ``who`` the process
    that saw it (a host name, a pipeline's controller, ``runner``). A process that emits an event
    leaves ``who`` to its log, and ``t_ns`` too unless it happened earlier.
    """

    kind: ClassVar[str]
    registry: ClassVar[dict[str, type["Event"]]] = {}

    t_ns: int = NOW
    who: str = ""

    def __init_subclass__(cls) -> None:
        Event.registry[cls.kind] = cls

    @classmethod
    def from_json(cls, line: str) -> "Event":
        """Parse one line; unknown fields are ignored so that newer files stay readable."""
        record = json.loads(line)
        event_type = Event.registry[record.pop("kind")]
        known = {field.name for field in fields(event_type)}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in record.items()
            if name in known
        }
        return event_type(**values | {"t_ns": record["t_ns"], "who": record["who"]})

    def stamped(self, now_ns: int, who: str) -> Self:
        """Fill in ``who`` and, unless it is given, the present time; returns the whole event."""
        return replace(self, who=who, t_ns=now_ns if self.t_ns == NOW else self.t_ns)

    def to_json(self) -> str:
        """One line, without the newline."""
        return json.dumps({"kind": self.kind, **asdict(self)}, separators=(",", ":"))


@dataclass(frozen=True, kw_only=True)
class Phase(Event):
    """A phase of the run (``network``, ``probe``, ``pipeline``, ...) begins or ends."""

    kind = "phase"
    phase: str
    state: str  # "begin" or "end"


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """``done`` of ``total`` units of a named task are finished."""

    kind = "progress"
    task: str
    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Message(Event):
    """One plain line for the person who watches."""

    kind = "message"
    text: str


@dataclass(frozen=True, kw_only=True)
class Reached(Event):
    """A process is at a point at which those that run at the same time wait for each other.

    ``point`` is ``ready`` (to be measured, or to ask for a model) or ``done``.
    """

    kind = "reached"
    point: str


@dataclass(frozen=True, kw_only=True)
class GenerationActivated(Event):
    """The source admits frames under a new generation from now on.

    ``rungs`` names what crosses each cut.
    """

    kind = "generation_activated"
    generation: int
    rungs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Iteration(Event):
    """One iteration of the optimisation loop, measured on the live pipeline (FIG. 5).

    ``bytes_per_inference`` has one entry per cut and counts frame headers and payload as the
    sending stage's ledger saw them. ``accuracy`` is a share (0..1) over ``samples``
    validation images. ``cut`` is the one that moved, ``None`` for the baseline and where several
    did. ``outcome`` is ``baseline``, ``kept``, ``rolled back`` or ``target met``.
    """

    kind = "iteration"
    index: int
    cut: int | None
    generation: int
    rungs: tuple[str, ...]
    accuracy: float
    samples: int
    latency_ms_median: float
    bytes_per_inference: tuple[float, ...]
    outcome: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class LoopEnded(Event):
    """The optimisation loop is done; ``reached`` says whether the target was met."""

    kind = "loop_ended"
    reached: bool
    generation: int
    rungs: tuple[str, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Measurement(Event):
    """A steady window of the pipeline under one generation, for the final figures.

    Frames admitted by the source between ``begin_ns`` and ``end_ns`` under ``generation`` belong
    to it. ``label`` is ``before`` or ``after`` compression; ``split`` names the data set split.
    """

    kind = "measurement"
    label: str
    generation: int
    rungs: tuple[str, ...]
    begin_ns: int
    end_ns: int
    accuracy: float
    samples: int
    split: str


@dataclass(frozen=True, kw_only=True)
class LinkChanged(Event):
    """One direction of a link is so from now on; ``late_ms`` after its time in the trace."""

    kind = "link_changed"
    link: str
    direction: Direction
    rate_mbit: float
    delay_ms: float
    loss_percent: float
    late_ms: float


@dataclass(frozen=True, kw_only=True)
class LinkCommanded(Event):
    """Somebody asked for a change of a link, ``said`` so; done, unless there is a ``refusal``.

    ``request`` names the request; what was applied is in the ``LinkChanged`` before it.
    """

    kind = "link_commanded"
    request: str
    said: str
    refusal: str | None = None


@dataclass(frozen=True, kw_only=True)
class ControlBegins(Event):
    """The pipeline is to be served under ``mode`` from ``begin_ns`` to ``end_ns``.

    ``mode`` is ``automatic``, ``oracle`` or the name of the rungs that are kept. The links' traces
    begin at ``begin_ns`` too, so that every mode has the same network. A frame is to take at most
    ``bound_ms``. ``frame_ms`` is the time from one frame to the next (0: as fast as they go).
    """

    kind = "control_begins"
    mode: str
    begin_ns: int
    end_ns: int
    bound_ms: float
    frame_ms: float


@dataclass(frozen=True, kw_only=True)
class RungChosen(Event):
    """Automatic control, or what it is compared with, serves under these rungs from now on.

    ``rate_mbit`` is the estimate for each connection (none where nothing is estimated),
    ``forecast_ms`` the end-to-end latency of a frame that the estimates promise, ``latency_ms``
    that of the latest frame (both ``None``: none yet), ``accuracy`` what the ladders foretell.
    """

    kind = "rung_chosen"
    generation: int
    rungs: tuple[str, ...]
    bound_ms: float
    rate_mbit: tuple[float, ...]
    forecast_ms: float | None
    latency_ms: float | None
    accuracy: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class PartitionChosen(Event):
    """How a pipeline's model lies over the hosts and which of its layers are fringe layers.

    ``reason`` tells why it lies so, where measurements decided and not the experiment. All that the
    same ``who``, its controller, tells is of this pipeline.
    """

    kind = "partition"
    pipeline: str = LONE_PIPELINE
    hosts: tuple[str, ...]
    stages: tuple[tuple[str, ...], ...]
    fringe: tuple[str, ...]
    raw_input_bytes: int
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ImagesUsed(Event):
    """Which images of the data set serve which purpose: ``calibration`` of the cuts, ``decisions``
    of the loop, ``figures`` that are reported. The splits of a data set share no image."""

    kind = "images_used"
    purpose: str
    split: str
    images: int


@dataclass(frozen=True, kw_only=True)
class WorkCost(Event):
    """What a piece of the controller's own work took: building the ``ladder``, the ``loop``.

    ``cpu_s`` is processor time of the process that did it, ``peak_memory_mib`` its largest
    resident set so far, imports included.
    """

    kind = "work_cost"
    work: str
    duration_s: float
    cpu_s: float
    peak_memory_mib: float


@dataclass(frozen=True, kw_only=True)
class FrozenHash(Event):
    """SHA-256 over every tensor that is not of a fringe layer, before and after the run."""

    kind = "frozen_hash"
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Listening(Event):
    """A server accepts connections from now on."""

    kind = "listening"
    address: str
    port: int


@dataclass(frozen=True, kw_only=True)
class ModelRequested(Event):
    """A UE asks for a model (FIG. 2, step 1) or for an upgrade of it (step 4).

    ``step`` counts the requests of the UE, ``round`` how often it has begun anew without a model.
    """

    kind = "model_requested"
    model: str
    deadline_ms: float | None
    max_bytes: int | None
    accuracy: float | None
    first_byte: int
    admission: str = "lookup"
    step: int = 0
    round: int = 0


@dataclass(frozen=True, kw_only=True)
class Admitted(Event):
    """What the model server sends (steps 2 and 5): ``first_byte`` to ``end_byte`` of the file.

    With admission by look-up decided before the first byte, from an estimate of the link that
    came from its ``profile`` or was ``measured``; with ``stream`` known once the deadline allows
    no further block, and ``estimate_mbit`` is what the kernel measured in the meantime.
    """

    kind = "admitted"
    model: str
    ue: str
    configuration: tuple[int, ...]
    first_byte: int
    end_byte: int
    estimate_mbit: float
    reason: str
    estimate_source: str = "profile"
    rtt_ms: float | None = None
    predicted_ms: float | None = None
    admission: str = "lookup"


@dataclass(frozen=True, kw_only=True)
class ConfigurationReady(Event):
    """The last byte of one more configuration reached the UE; it can run from now on."""

    kind = "configuration_ready"
    model: str
    configuration: tuple[int, ...]
    file_bytes: int
    round: int = 0


@dataclass(frozen=True, kw_only=True)
class ConfigurationEvaluated(Event):
    """The UE ran one configuration on its data; ``t_ns`` is when the first inference ended.

    ``split`` names the part of the data set that ``accuracy`` was measured on.
    """

    kind = "configuration_evaluated"
    model: str
    configuration: tuple[int, ...]
    accuracy: float
    samples: int
    split: str = "unknown"
    round: int = 0


@dataclass(frozen=True, kw_only=True)
class DownloadEnded(Event):
    """A response has ended: TCP connect began at ``begin_ns``, the last byte came at ``t_ns``.

    ``outcome`` is ``complete``, ``interrupted`` or ``damaged``; after the latter two the UE asks
    for the rest on another connection, the next ``attempt`` of the same ``step``, and ``reason``
    says what happened. Bytes of a damaged part are received and dropped. ``header_bytes`` is the
    length of the response's HTTP header, ``receive_window_bytes`` what was offered with the request
    where that was not left to the kernel.
    """

    kind = "download_ended"
    model: str
    begin_ns: int
    first_byte: int
    end_byte: int
    local_port: int
    server_port: int
    outcome: str = "complete"
    reason: str = ""
    attempt: int = 1
    header_bytes: int | None = None
    receive_window_bytes: int | None = None
    step: int = 0
    round: int = 0


@dataclass(frozen=True, kw_only=True)
class StepRefused(Event):
    """A step of a UE came to nothing: the server's HTTP status (none: the UE's own), and why."""

    kind = "step_refused"
    model: str
    status: int | None
    reason: str
    step: int = 0
    round: int = 0


@dataclass(frozen=True, kw_only=True)
class SteppedDown(Event):
    """The UE runs another configuration that it holds already; nothing was transferred."""

    kind = "stepped_down"
    model: str
    configuration: tuple[int, ...]
    macs: int
    step: int = 0
    round: int = 0


@dataclass(frozen=True, kw_only=True)
class ModelOffered(Event):
    """A model that a server has: its configurations, the bytes that make each runnable, and their
    accuracies where there is a look-up table."""

    kind = "model_offered"
    model: str
    configurations: tuple[str, ...]
    end_bytes: tuple[int, ...]
    accuracies: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class LinkLearned(Event):
    """What the model server believes of a UE's link after one more of its connections.

    The connection would have taken as long at any rate from ``low_mbit`` to ``high_mbit`` (none:
    at any above; neither: it was too short to tell).
    """

    kind = "link_learned"
    ue: str
    rate_mbit: float
    rtt_ms: float
    low_mbit: float | None
    high_mbit: float | None


@dataclass(frozen=True, kw_only=True)
class WindowOpened(Event):
    """Connections to a UE begin with a window of so many segments, sized to their path."""

    kind = "window_opened"
    ue: str
    segments: int


@dataclass(frozen=True, kw_only=True)
class FaultInjected(Event):
    """The model server did harm on purpose, as the experiment asks: ``cut`` or ``flip``."""

    kind = "fault_injected"
    model: str
    ue: str
    fault: str
    at_byte: int


Emit = Callable[[Event], None]
"""Takes an event of this process: ``EventLog.emit``."""


class EventLog:
    """Appends events of one process to the run's file."""

    def __init__(self, path: Path, who: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._who = who

    def emit(self, event: Event) -> None:
        """Record one event, stamped with this process and, unless given, the present time."""
        stamped = event.stamped(time.monotonic_ns(), self._who)
        os.write(self._fd, (stamped.to_json() + "\n").encode())

    def close(self) -> None:
        """Close the file; further events are an error."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_events(path: Path) -> Iterator[Event]:
    """Every complete event of a file, in the order of writing."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield Event.from_json(line)
