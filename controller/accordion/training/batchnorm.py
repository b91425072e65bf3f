"""BatchNorm statistics of one configuration, measured anew.

In CoML every block sees the same input in each configuration that has it, so all configurations
share statistics. In BlockCoML what precedes inner blocks 2 and 3 changes with the configuration,
and a network that runs with another configuration's statistics loses most of its accuracy
(slimmable networks, Yu et al., ICLR 2019).
"""

import copy
import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from stage_node.models import ChainModel
from stage_node.records.configuration import Configuration

RECALIBRATION_IMAGES = 8192
"""A mean over this number of images is known to a hundredth of a standard deviation."""


def needs_own_statistics(model: ChainModel, rungs: Sequence[Configuration]) -> bool:
    """Return True if a layer with BatchNorm runs behind other layers in one configuration than in
    another."""
    before: dict[str, tuple[str, ...]] = {}
    for configuration in rungs:
        names = model.subset(configuration)
        for position, name in enumerate(names):
            if any(isinstance(m, nn.BatchNorm2d) for m in model.layers[name].modules()):
                known = before.setdefault(name, names[:position])
                if known != names[:position]:
                    return True
    return False


def recalibrated(
    model: ChainModel,
    configuration: Configuration,
    images: Tensor,
    frozen: Collection[str] = (),
    batch: int = 256,
) -> dict[str, Tensor]:
    """Running means and variances of the configuration's BatchNorms over ``images``.

    By ``state_dict`` name. The model keeps its own, and so do the layers named in ``frozen``: what
    comes behind them was trained on what they put out. Of very many images, evenly spread ones do.
    """
    images = images[:: math.ceil(len(images) / RECALIBRATION_IMAGES)]
    segment = copy.deepcopy(model.configured(configuration)).train()
    for name in frozen:
        if name in segment.layers:
            segment.layers[name].eval()
    norms = [m for m in segment.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    with torch.no_grad():
        for seen, begin in enumerate(range(0, len(images), batch)):
            for norm in norms:
                norm.momentum = 1 / (seen + 1)  # the plain mean over the batches
            segment(images[begin : begin + batch])
    return dict(segment.named_buffers())
