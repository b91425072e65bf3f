"""Events of automatic control and of the modes it is compared with."""

from dataclasses import dataclass

from stage_node.records.events.event import Event


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

    ``rate_mbit`` is the estimate for each connection (empty if nothing is estimated),
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
