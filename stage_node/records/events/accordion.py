"""Events of Accordion: a server's offers and responses, a UE's requests, downloads and models."""

from dataclasses import dataclass

from stage_node.records.events.event import Event


@dataclass(frozen=True, kw_only=True)
class Listening(Event):
    """A server accepts connections from now on."""

    kind = "listening"
    address: str
    port: int


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
    """The model server sends (steps 2 and 5): ``first_byte`` to ``end_byte`` of the file.

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
class LinkLearned(Event):
    """The model server's estimate of a UE's link after one more of its connections.

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
    """Connections to a UE begin with a window of ``segments``, sized to their path."""

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
