"""What a UE asks for, request by request: steps 1 and 4 of FIG. 2 of the Accordion paper."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Step(BaseModel):
    """One request of the UE; ``pause_ms`` passes before it, once all before it has been run.

    ``max_bytes``, ``deadline_ms`` and ``accuracy`` are the application's needs, which the server
    meets as it can; ``all`` asks for the rest of the file instead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pause_ms: float = Field(default=0, ge=0)
    max_bytes: int | None = Field(default=None, gt=0)
    deadline_ms: float | None = Field(default=None, gt=0)
    accuracy: float | None = Field(default=None, ge=0, le=1)
    all: bool = False

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not self.all and not self.needs():
            raise ValueError("give deadline_ms, max_bytes, accuracy or all: true")
        return self

    def needs(self) -> dict[str, float]:
        """The query parameters of the request."""
        needs = self.model_dump(include={"max_bytes", "deadline_ms", "accuracy"})
        return {name: value for name, value in needs.items() if value is not None}
