"""A model is a chain of named layers: it can be cut after any of them, and shortened."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from stage_node.errors import BadModelError
from stage_node.models.family import (
    Family,
    ModelSpec,
    full_configuration,
    layers_of,
    smallest_configuration,
)
from stage_node.records.configuration import Configuration


class Segment(nn.Module):
    """Some layers of a chain, run one after the other.

    The keys of its ``state_dict`` are ``layers.<layer>.<parameter>``, the same as the whole
    model's.
    """

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers in the order they run."""
        return tuple(self.layers)

    def forward(self, x: Tensor) -> Tensor:
        """Run all layers on a batch (N, C, H, W)."""
        for layer in self.layers.values():
            x = layer(x)
        return x


class ChainModel(Segment):
    """A whole model: images (N, in_channels, image_size, image_size) to logits (N, classes)."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__({name: make() for name, make in Family.of(spec).layers(spec).items()})
        self.spec = spec

    def segment(self, names: Sequence[str]) -> Segment:
        """Consecutive layers as one module that shares this model's parameters."""
        own = self.layer_names
        if not names or names[0] not in own:
            raise BadModelError(f"no layer {names[0]!r} in this model" if names else "no layers")
        begin = own.index(names[0])
        if tuple(names) != own[begin : begin + len(names)]:
            raise BadModelError(f"{', '.join(names)} are not consecutive layers of this model")
        return Segment({name: self.layers[name] for name in names})

    def subset(self, configuration: Configuration) -> tuple[str, ...]:
        """Names of the layers that run in a configuration; see :func:`layers_of`."""
        return layers_of(self.spec, configuration)

    def configured(self, configuration: Configuration) -> Segment:
        """This model with the blocks of one configuration, sharing parameters."""
        return Segment({name: self.layers[name] for name in self.subset(configuration)})

    @property
    def full_configuration(self) -> Configuration:
        """The configuration of the whole model."""
        return full_configuration(self.spec)

    @property
    def smallest_configuration(self) -> Configuration:
        """The configuration of the blocks that cannot be left out."""
        return smallest_configuration(self.spec)

    @property
    def residual(self) -> frozenset[str]:
        """The layers that have a skip connection inside."""
        return Family.of(self.spec).residual(self.spec)

    def shapes(self, batch: int = 1) -> dict[str, tuple[int, ...]]:
        """Shape of the activation after each layer for ``batch`` images."""
        shapes = {}
        with torch.inference_mode():
            x = torch.zeros(batch, *self.input_shape)
            for name, layer in _evaluating(self):
                x = layer(x)
                shapes[name] = tuple(x.shape)
        return shapes

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of one image."""
        return (self.spec.in_channels, self.spec.image_size, self.spec.image_size)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulate operations of each layer for one image.

        Convolutions and linear layers count; BatchNorm, ReLU, pooling and additions do not,
        as in He et al. (2016) and the Accordion paper. Modules that multiply activations with
        one another count as well, by their own method ``macs`` (:class:`Multiplies`).
        """
        counts = {}
        x = torch.zeros(1, *self.input_shape)
        for name, layer in _evaluating(self):
            counts[name], x = counted_macs(layer, x)
        return counts


@runtime_checkable
class Multiplies(Protocol):
    """A module without weights that multiplies activations, such as attention."""

    def macs(self, output: Tensor) -> int:
        """Multiply-accumulate operations for one image, from an output (N, ...)."""
        ...


def counted_macs(module: nn.Module, x: Tensor) -> tuple[int, Tensor]:
    """Multiply-accumulate operations of a module on ``x`` (1, ...), as :meth:`ChainModel.macs`
    counts them, and its output."""
    total = 0

    def count(part: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        total += _macs(part, output)

    with torch.inference_mode(), contextlib.ExitStack() as hooks:
        for part in module.modules():
            if isinstance(part, nn.Conv2d | nn.Linear | Multiplies):
                hooks.callback(part.register_forward_hook(count).remove)
        output = module(x)
    return total, output


def _macs(module: nn.Module, output: Tensor) -> int:
    """MACs of one module for one image: each output is a sum over its own weights."""
    if isinstance(module, Multiplies):
        return module.macs(output)
    weight = module.get_parameter("weight")
    return output[0].numel() * weight[0].numel()


def _evaluating(model: ChainModel) -> Iterator[tuple[str, nn.Module]]:
    """The layers, in evaluation mode while they are iterated: BatchNorm learns nothing."""
    was_training = model.training
    model.eval()
    try:
        yield from model.layers.items()
    finally:
        model.train(was_training)


def build_model(spec: ModelSpec) -> ChainModel:
    """A freshly initialised model; ``BadModelError`` when the specification makes no sense."""
    return ChainModel(spec)
