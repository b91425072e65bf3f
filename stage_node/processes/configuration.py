"""How a process is told what to do: by a configuration that its own module defines."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from stage_node.errors import StageNodeError


class BadConfigurationError(StageNodeError):
    """A process was told what makes no sense: bad input."""

    exit_status = 2


class ProcessConfiguration(BaseModel):
    """What a process is told; the function ``main`` of the class's module takes it.

    It gets it as parsed JSON, or whole from a caller in the same process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def entry(cls) -> str:
        """Name the entry point of the process, ``module:function``."""
        return f"{cls.__module__}:main"

    @classmethod
    def parse(cls, told: Self | Mapping[str, Any]) -> Self:
        """Check what a process was told; ``BadConfigurationError`` names the fields in one line."""
        try:
            return cls.model_validate(told)
        except ValidationError as error:
            mistakes = error.errors(include_url=False)
            wrong = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in mistakes)
            raise BadConfigurationError(f"{cls.__name__}: {'; '.join(wrong)}") from None
