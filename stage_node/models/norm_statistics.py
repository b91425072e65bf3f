"""BatchNorm statistics that one configuration has for itself, in a single tensor.

A configuration's means and variances are a few hundred numbers in over a hundred small tensors.
Named one by one in a checkpoint's header, which every prefix begins with, they would take ten
times the bytes of the numbers. They lie one behind the other in the order in which the file names
the full configuration's.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from stage_node.records.configuration import Configuration, configuration_name


def packed_name(configuration: Configuration) -> str:
    """Under which name a checkpoint has the statistics of a configuration: ``statistics.4-2-1``."""
    return "statistics." + configuration_name(configuration)


def pack_statistics(statistics: Mapping[str, Tensor], order: Iterable[str]) -> Tensor:
    """A configuration's statistics, by ``state_dict`` name, as one tensor (N,).

    ``order`` names the full configuration's; what this one has not is left out.
    """
    return torch.cat([statistics[name].flatten() for name in order if name in statistics])


def unpack_statistics(packed: Tensor, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The statistics by name; they share the memory of ``packed``.

    ``ValueError`` where there are more or fewer numbers than ``shapes`` ask for.
    """
    sizes = [torch.Size(shape).numel() for shape in shapes.values()]
    if packed.numel() != sum(sizes):
        raise ValueError(f"{packed.numel()} statistics where there should be {sum(sizes)}")
    parts = torch.split(packed, sizes)
    return {
        name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }
