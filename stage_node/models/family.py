"""What every family of models says about itself, and the registry that finds it by name."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from stage_node.errors import BadModelError

Configuration = tuple[int, ...]
"""Blocks kept of each inner block, the leftmost ones: Accordion's (b1, b2, b3)."""


class ModelSpec(BaseModel):
    """All that is needed to build a model, but for its weights.

    ``depth`` counts the weighted layers as its family does, ``width`` the channels of the first
    inner block. ``downsample`` names how the resolution is halved between inner blocks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str = "resnet"
    depth: int = Field(gt=0)
    width: int = Field(default=16, gt=0)
    classes: int = Field(gt=1)
    in_channels: int = Field(gt=0)
    image_size: int = Field(ge=8)
    downsample: Literal["option-a", "pool"] = "option-a"


class Family(ABC):
    """One family of architectures; a subclass registers itself under its ``name``."""

    name: ClassVar[str]
    registry: ClassVar[dict[str, type["Family"]]] = {}

    def __init_subclass__(cls) -> None:
        Family.registry[cls.name] = cls

    @staticmethod
    def of(spec: ModelSpec) -> type["Family"]:
        """The family of a specification; ``BadModelError`` where there is none of that name."""
        try:
            return Family.registry[spec.family]
        except KeyError:
            known = ", ".join(sorted(Family.registry))
            raise BadModelError(f"unknown model family {spec.family!r}; known: {known}") from None

    @staticmethod
    @abstractmethod
    def layers(spec: ModelSpec) -> Iterator[tuple[str, nn.Module]]:
        """The named layers in order, freshly initialised; a cut is possible after each."""

    @staticmethod
    @abstractmethod
    def inner_blocks(spec: ModelSpec) -> tuple[tuple[str, ...], ...]:
        """Names of the residual blocks, inner block by inner block."""

    @staticmethod
    @abstractmethod
    def skippable(spec: ModelSpec) -> frozenset[str]:
        """Blocks that the model runs without: those that keep the shape of their input."""
