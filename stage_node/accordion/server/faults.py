"""Harm that a model server does on purpose, where an experiment or a test asks for it."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Fault(BaseModel):
    """One fault: the connection is cut before a byte of the file, or that byte arrives altered.

    It strikes the first ``times`` responses that would carry the byte, those to ``ue`` where one
    is named (in an experiment a host, for the server its address).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cut_at_byte: int | None = Field(default=None, ge=0)
    flip_byte: int | None = Field(default=None, ge=0)
    ue: str | None = None
    times: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _one_kind(self) -> "Fault":
        if (self.cut_at_byte is None) == (self.flip_byte is None):
            raise ValueError("give one of cut_at_byte, flip_byte")
        return self

    @property
    def name(self) -> str:
        """``cut`` or ``flip``."""
        return "flip" if self.cut_at_byte is None else "cut"

    @property
    def at_byte(self) -> int:
        """The byte of the file that it strikes."""
        place = self.flip_byte if self.cut_at_byte is None else self.cut_at_byte
        assert place is not None
        return place


class FaultPlan:
    """The faults that have not struck yet, as often as each is to."""

    def __init__(self) -> None:
        self._to_come: list[Fault] = []

    def arm(self, faults: Iterable[Fault]) -> None:
        """Let these strike from now on."""
        self._to_come += [fault for fault in faults for _ in range(fault.times)]

    def strike(self, ue: str, first_byte: int, end_byte: int) -> Fault | None:
        """The fault, if any, that strikes these bytes of the file on their way to ``ue``."""
        for fault in self._to_come:
            if first_byte <= fault.at_byte < end_byte and fault.ue in (None, ue):
                self._to_come.remove(fault)
                return fault
        return None
