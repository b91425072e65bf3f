"""The description of a family of models, and the registry that finds it by name."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from stage_node.errors import BadModelError
from stage_node.records.configuration import Configuration, configuration_name


class ModelSpec(BaseModel):
    """All that is needed to build a model, but for its weights.

    ``depth`` counts the weighted layers as its family does, ``width`` the channels of the first
    inner block. ``downsample`` names how the resolution is halved between inner blocks; a family
    that never halves it has no use for it. ``options`` are what one family alone asks for, and
    checks (:class:`FamilyOptions`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str = "resnet"
    depth: int = Field(gt=0)
    width: int = Field(default=16, gt=0)
    classes: int = Field(gt=1)
    in_channels: int = Field(gt=0)
    image_size: int = Field(ge=8)
    downsample: Literal["option-a", "max", "pool"] = "option-a"
    options: dict[str, int | float | str] = Field(
        default_factory=dict,
        exclude_if=lambda options: not options,  # most families have none: nothing is written
    )


class FamilyOptions(BaseModel):
    """The options of a family; one that has some subclasses this with a field for each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def of(cls, spec: ModelSpec) -> Self:
        """Options of a specification, typed; ``BadModelError`` names what is wrong with them."""
        try:
            return cls.model_validate(spec.options)
        except ValidationError as error:
            known = ", ".join(cls.model_fields) or "none"
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise BadModelError(
                f"options of the family {spec.family} (there are: {known}): {wrong}"
            ) from None


class Family(ABC):
    """One family of architectures; a subclass registers itself under its ``name``."""

    name: ClassVar[str]
    options: ClassVar[type[FamilyOptions]] = FamilyOptions
    registry: ClassVar[dict[str, type["Family"]]] = {}

    def __init_subclass__(cls) -> None:
        Family.registry[cls.name] = cls

    @staticmethod
    def of(spec: ModelSpec) -> type["Family"]:
        """The family of a specification.

        ``BadModelError`` where there is none of that name, or the options are not its own.
        """
        family = Family.registry.get(spec.family)
        if family is None:
            known = ", ".join(sorted(Family.registry))
            raise BadModelError(f"unknown model family {spec.family!r}; known: {known}")
        family.options.of(spec)
        return family

    @staticmethod
    @abstractmethod
    def layers(spec: ModelSpec) -> dict[str, Callable[[], nn.Module]]:
        """The named layers in order, each as the function that makes it, freshly initialised."""

    @staticmethod
    @abstractmethod
    def inner_blocks(spec: ModelSpec) -> tuple[tuple[str, ...], ...]:
        """Names of the blocks that make up the model's depth, inner block by inner block."""

    @staticmethod
    @abstractmethod
    def skippable(spec: ModelSpec) -> frozenset[str]:
        """Blocks that the model runs without: those that keep the shape of their input."""

    @staticmethod
    @abstractmethod
    def residual(spec: ModelSpec) -> frozenset[str]:
        """Layers with a skip connection inside, which a cut within the layer would sever."""


def full_configuration(spec: ModelSpec) -> Configuration:
    """The configuration of the whole model."""
    return tuple(len(names) for names in Family.of(spec).inner_blocks(spec))


def smallest_configuration(spec: ModelSpec) -> Configuration:
    """The configuration of the blocks that cannot be left out."""
    skippable = Family.of(spec).skippable(spec)
    return tuple(
        sum(name not in skippable for name in names) for names in Family.of(spec).inner_blocks(spec)
    )


def layers_of(spec: ModelSpec, configuration: Configuration) -> tuple[str, ...]:
    """Names of the layers that run in a configuration, in order.

    ``configuration`` counts the blocks kept of each inner block, leftmost first. Everything that
    is no residual block always runs. ``BadModelError`` where a block left out changes the shape,
    or the counts do not fit the model.
    """
    family = Family.of(spec)
    blocks, full = family.inner_blocks(spec), full_configuration(spec)
    if len(configuration) != len(full) or any(
        not 0 <= kept <= most for kept, most in zip(configuration, full, strict=True)
    ):
        raise BadModelError(
            f"configuration {configuration_name(configuration)} does not fit a model of "
            f"{configuration_name(full)}"
        )
    left_out = {
        name for kept, names in zip(configuration, blocks, strict=True) for name in names[kept:]
    }
    if fixed := sorted(left_out - family.skippable(spec)):
        raise BadModelError(
            f"configuration {configuration_name(configuration)} leaves out {', '.join(fixed)}, "
            f"which changes the shape (downsample={spec.downsample!r})"
        )
    return tuple(name for name in family.layers(spec) if name not in left_out)
