"""Events of the emulated links."""

from dataclasses import dataclass

from stage_node.records.events.event import Event
from stage_node.records.vocabulary import Direction


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
