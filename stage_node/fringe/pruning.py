"""Pruning of the fringe layers themselves (US 2025/0265465 A1, [0041]), on one side of a cut.

Structured: the layer before the cut computes the most important channels alone, and the layer
behind it expects no others (:mod:`stage_node.models.slicing`). Unstructured: of each weight tensor
of the fringe layers only the entries of largest magnitude stay (Han et al., NeurIPS 2015). Both
are computed by the stages from the weights that they hold, into copies that serve under the
generations of one rung; nothing has to be sent, and the layers themselves never change.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stage_node.errors import BadModelError
from stage_node.fringe.messages import Side
from stage_node.models.slicing import first_sliceable, with_inputs, with_outputs


@dataclass(frozen=True, eq=False)
class Pruning:
    """Changes of a rung to the fringe layers on one side of its cut.

    ``fringe`` names them in the order of the chain. ``kept`` (K,) has the ascending indices of the
    channels that cross (``None``: all), ``weights`` is the share of each weight tensor that stays.
    """

    side: Side
    fringe: tuple[str, ...]
    kept: Tensor | None = None
    weights: float = 1.0

    def applied(self, layers: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
        """The layers of a stage, pruned copies in the places of those that change.

        ``BadModelError`` where channels are to go and the fringe layers have no slices.
        """
        own = {name: layers[name] for name in self.fringe}
        if self.kept is not None:
            own |= sliced(own, self.side, self.kept)
        if self.weights < 1:
            own = {name: with_weights(layer, self.weights) for name, layer in own.items()}
        return {**layers, **own}


def sliced_layer(fringe: Mapping[str, nn.Module], side: Side) -> str | None:
    """Find the fringe layer to slice on one side; None if there is none."""
    if side == "encoder":
        return first_sliceable(dict(reversed(list(fringe.items()))), with_outputs)
    return first_sliceable(fringe, with_inputs)


def sliced(fringe: Mapping[str, nn.Module], side: Side, kept: Tensor) -> dict[str, nn.Module]:
    """The fringe layer on one side that changes where only the channels ``kept`` cross.

    ``BadModelError`` where none can.
    """
    name = sliced_layer(fringe, side)
    if name is None:
        raise BadModelError(f"no fringe layer of {', '.join(fringe) or 'none'} can be sliced")
    how = with_outputs if side == "encoder" else with_inputs
    return {name: how(fringe[name], kept)}


def with_weights(layer: nn.Module, share: float) -> nn.Module:
    """A copy whose weight tensors have zeros in all but a ``share`` of their places.

    The largest magnitudes stay, at least one; of equals the first. Biases and normalisations,
    which are few, stay whole. A smaller share keeps a subset of what a larger one keeps.
    """
    pruned = copy.deepcopy(layer)
    with torch.no_grad():
        for name, tensor in pruned.named_parameters():
            if tensor.ndim > 1 and name.endswith("weight"):
                flat = tensor.view(-1)
                order = flat.abs().argsort(descending=True, stable=True)
                flat[order[max(1, round(share * flat.numel())) :]] = 0
    return pruned
