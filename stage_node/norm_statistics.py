"""BatchNorm statistics that one configuration has for itself, in a single tensor.

A configuration's means and variances are a few hundred numbers in over a hundred small tensors.
Named one by one in a checkpoint's header, which every prefix begins with, they would take ten
times the bytes of the numbers.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from stage_node.models import Configuration, Family, ModelSpec, layers_of


def packed_name(configuration: Configuration) -> str:
    """Under which name a checkpoint has the statistics of a configuration: ``statistics.4-2-1``."""
    return "statistics." + "-".join(map(str, configuration))


def pack_statistics(
    spec: ModelSpec, configuration: Configuration, statistics: Mapping[str, Tensor]
) -> Tensor:
    """The means and variances, by ``state_dict`` name, one behind the other: float32 (N,).

    They lie in the order of the layers; ``num_batches_tracked``, which nothing that runs a model
    reads, is left out.
    """
    return torch.cat([statistics[name].flatten() for name in _shapes(spec, configuration)])


def unpack_statistics(
    spec: ModelSpec, configuration: Configuration, packed: Tensor
) -> dict[str, Tensor]:
    """The means and variances by ``state_dict`` name; they share the memory of ``packed``.

    ``ValueError`` where there are more or fewer numbers than the configuration has.
    """
    shapes = _shapes(spec, configuration)
    wanted = sum(shape.numel() for shape in shapes.values())
    if packed.numel() != wanted:
        raise ValueError(f"{packed.numel()} statistics where {configuration} has {wanted}")
    parts = torch.split(packed, [shape.numel() for shape in shapes.values()])
    return {
        name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def _shapes(spec: ModelSpec, configuration: Configuration) -> dict[str, torch.Size]:
    """Of every mean and variance of a configuration, in the order of its layers."""
    makers = Family.of(spec).layers(spec)
    with torch.device("meta"):
        return {
            f"layers.{layer}.{name}": buffer.shape
            for layer in layers_of(spec, configuration)
            for name, buffer in makers[layer]().named_buffers()
            if buffer.is_floating_point()
        }
