"""Configurations of processes: each is defined by the process's own module."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from stage_node.errors import StageNodeError


class BadConfigurationError(StageNodeError):
    """A process has a configuration that makes no sense: bad input."""

    exit_status = 2


class ProcessConfiguration(BaseModel):
    """Configuration of a process; the function ``main`` of the class's module takes it.

    It gets it as parsed JSON, or whole from a caller in the same process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def entry(cls) -> str:
        """Name the entry point of the process, ``module:function``."""
        return f"{cls.__module__}:main"

    @classmethod
    def parse(cls, told: Self | Mapping[str, Any]) -> Self:
        """Check a process's configuration; ``BadConfigurationError`` names the fields."""
        try:
            return cls.model_validate(told)
        except ValidationError as error:
            mistakes = error.errors(include_url=False)
            wrong = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in mistakes)
            raise BadConfigurationError(f"{cls.__name__}: {'; '.join(wrong)}") from None
