"""The base of every event: a time, a process, and a kind of its own."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Self

NOW = -1
"""``t_ns`` of an event that happens as its log takes it."""


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


Emit = Callable[[Event], None]
"""Takes an event of this process: ``EventLog.emit``."""
