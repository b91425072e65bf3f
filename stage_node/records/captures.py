"""``captures.json``: what tcpdump and the kernel counted of every capture."""

from typing import Any, ClassVar

from pydantic import Field, model_validator

from stage_node.records.record import RunFile, RunFilePart


class CaptureTotals(RunFilePart):
    """Packets written to a file, seen by the kernel's filter, and dropped for want of room."""

    captured: int
    received_by_filter: int
    dropped_by_kernel: int

    @property
    def missing(self) -> int:
        """Packets that passed the interface and are not in the file."""
        return self.received_by_filter - self.captured + self.dropped_by_kernel


class CaptureCounters(CaptureTotals):
    """The counters of one interface."""

    interface: str
    link: str

    @property
    def is_complete(self) -> bool:
        """Return True if every frame that passed the interface is in the file."""
        return self.captured == self.received_by_filter and self.dropped_by_kernel == 0


class CapturesRecord(RunFile):
    """The counters of all captures. Schema 1 was the bare list."""

    NEWEST: ClassVar[int] = 2

    schema_version: int = Field(default=2, validation_alias="schema", serialization_alias="schema")
    captures: tuple[CaptureCounters, ...]

    @model_validator(mode="before")
    @classmethod
    def _of_schema_1(cls, value: Any) -> Any:
        return {"schema": 1, "captures": value} if isinstance(value, list) else value
