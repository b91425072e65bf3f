"""Events of any run: its phases, its progress, its messages."""

from dataclasses import dataclass

from stage_node.records.events.event import Event

TOGETHER = "together"
"""The phase in which split models serve and models are delivered at the same time."""

SERVING_PHASES = ("pipeline", TOGETHER)


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
class WorkCost(Event):
    """Cost of a piece of the controller's own work: building the ``ladder``, the ``loop``.

    ``cpu_s`` is processor time of the process that did it, ``peak_memory_mib`` its largest
    resident set so far, imports included.
    """

    kind = "work_cost"
    work: str
    duration_s: float
    cpu_s: float
    peak_memory_mib: float
