"""Structured pruning of the layers of a plain chain: slices that compute and expect fewer channels.

Two layers that touch at a cut are sliced to the same channels: the sending one computes no others,
the receiving one expects no others, and both have fewer parameters (Li et al., ICLR 2017, section
3.1). That holds where a layer's output is what its own weights made of its input; one that adds its
input to its output has other layers' channels to carry, and no slice. So layers are not sliced
unless their kind is known here: a family whose layers can be registers its own functions
(``@with_outputs.register``). All of this is pure: the layer given stays as it is.
"""

import copy
from collections.abc import Callable, Mapping
from functools import singledispatch

from torch import Tensor, nn

from stage_node.errors import BadModelError
from stage_node.models.parts import ConvLayer, Head

Slice = Callable[[nn.Module, Tensor], nn.Module]
"""A layer and the ascending indices (K,) of the channels that stay, to a smaller copy of it."""


@singledispatch
def with_outputs(layer: nn.Module, kept: Tensor) -> nn.Module:
    """A copy that computes only the output channels ``kept``; ``BadModelError`` where that kind of
    layer cannot be sliced."""
    raise BadModelError(f"a {type(layer).__name__} has no slice of its output channels")


@singledispatch
def with_inputs(layer: nn.Module, kept: Tensor) -> nn.Module:
    """A copy that expects only the input channels ``kept`` and takes all others for zero;
    ``BadModelError`` where that kind of layer cannot be sliced."""
    raise BadModelError(f"a {type(layer).__name__} has no slice of its input channels")


@with_outputs.register
def _(layer: ConvLayer, kept: Tensor) -> ConvLayer:
    sliced = copy.deepcopy(layer)
    sliced.conv.weight = _some(layer.conv.weight, kept, 0)
    sliced.conv.out_channels = sliced.bn.num_features = len(kept)
    sliced.bn.weight, sliced.bn.bias = (
        _some(own, kept, 0) for own in (layer.bn.weight, layer.bn.bias)
    )
    assert layer.bn.running_mean is not None and layer.bn.running_var is not None
    sliced.bn.running_mean = layer.bn.running_mean[kept]
    sliced.bn.running_var = layer.bn.running_var[kept]
    return sliced


@with_inputs.register
def _(layer: ConvLayer, kept: Tensor) -> ConvLayer:
    sliced = copy.deepcopy(layer)
    sliced.conv.weight = _some(layer.conv.weight, kept, 1)
    sliced.conv.in_channels = len(kept)
    return sliced


@with_inputs.register
def _(layer: Head, kept: Tensor) -> Head:
    sliced = copy.deepcopy(layer)
    sliced.linear.weight = _some(layer.linear.weight, kept, 1)
    sliced.linear.in_features = len(kept)
    return sliced


def first_sliceable(layers: Mapping[str, nn.Module], how: Slice) -> str | None:
    """The layer that ``how`` (``with_outputs`` or ``with_inputs``) would slice, of layers in the
    order from the cut outwards; ``None`` where a layer is in the way.

    Max pooling treats every channel for itself and lets slices through.
    """
    for name, layer in layers.items():
        if not isinstance(layer, nn.MaxPool2d):
            known = how.dispatch(type(layer)) is not how.dispatch(object)  # type: ignore[attr-defined]
            return name if known else None
    return None


def _some(parameter: Tensor, kept: Tensor, dimension: int) -> nn.Parameter:
    return nn.Parameter(
        parameter.detach().index_select(dimension, kept), requires_grad=parameter.requires_grad
    )
