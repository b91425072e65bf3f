"""Steps of a UE, with their needs: steps 1, 4 and 6 of FIG. 2 of the Accordion paper."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from stage_node.records.configuration import Configuration

AdmissionName = Literal["lookup", "stream"]
NEEDS = ("max_bytes", "deadline_ms", "accuracy")


def _from_name(value: object) -> object:
    """``3-1-0`` stands for (3, 1, 0)."""
    if not isinstance(value, str):
        return value
    if not all(part.isdecimal() for part in value.split("-")):
        raise ValueError("a configuration is blocks per part of the network, as in 3-1-0")
    return tuple(int(part) for part in value.split("-"))


class Step(BaseModel):
    """One step of the UE; ``pause_ms`` passes before it, once all before it has been run.

    A request names the application's needs, ``max_bytes``, ``deadline_ms`` and ``accuracy``,
    which the server meets as it can; ``admission`` says how: from its look-up table and what it
    knows of the link (``lookup``), or by sending whole blocks until the deadline (``stream``).
    ``all`` asks for the rest of the file instead. ``run`` names a configuration that the UE holds
    and is to run from now on, ``max_macs`` lets it choose the largest it can afford: neither
    transfers anything. What a ``required`` step is refused fails the run; of others the refusal
    is the result.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pause_ms: float = Field(default=0, ge=0)
    max_bytes: int | None = Field(default=None, gt=0)
    deadline_ms: float | None = Field(default=None, gt=0)
    accuracy: float | None = Field(default=None, ge=0, le=1)
    admission: AdmissionName | None = None
    all: bool = False
    run: Annotated[Configuration | None, BeforeValidator(_from_name)] = None
    max_macs: int | None = Field(default=None, gt=0)
    required: bool = False

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        asked = [bool(self.needs()), self.all, self.run is not None, self.max_macs is not None]
        if sum(asked) != 1:
            raise ValueError(
                "give needs (deadline_ms, max_bytes, accuracy), or one of all: true, run, max_macs"
            )
        if self.admission == "stream" and self.deadline_ms is None:
            raise ValueError("admission: stream sends until a deadline: give deadline_ms")
        if self.admission is not None and not self.needs():
            raise ValueError("admission: only a request with needs is admitted")
        return self

    @property
    def local(self) -> bool:
        """Return True if the UE does it alone."""
        return self.run is not None or self.max_macs is not None

    def needs(self) -> dict[str, float]:
        """Needs of the application, by the names of the request's query parameters."""
        given = {name: getattr(self, name) for name in NEEDS}
        return {name: value for name, value in given.items() if value is not None}
