"""Fringe layers: those that touch each other across the network (US 2025/0265465 A1, [0035]).

FIG. 5, step 515: at every cut the last layers of the sending stage and the first layers of the
receiving one. Step 520: every other layer is frozen.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controller.errors import BadTargetsError
from controller.split.partition import Partition
from stage_node.fringe.pruning import sliced_layer
from stage_node.models import ChainModel
from stage_node.models.frozen import layer_of


@dataclass(frozen=True)
class Fringe:
    """The fringe layers of every cut: ``(sending side, receiving side)``, first cut first."""

    pairs: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of all fringe layers, each once, in the order of the chain."""
        sides = itertools.chain.from_iterable(self.pairs)
        return tuple(dict.fromkeys(itertools.chain.from_iterable(sides)))

    def frozen(self, tensor_names: Iterable[str]) -> tuple[str, ...]:
        """Select the model's tensors that must not change ([0049], claim 4), in order."""
        fringe = frozenset(self.layers)
        return tuple(name for name in tensor_names if layer_of(name) not in fringe)


def find_fringe(partition: Partition, layers: int = 1) -> Fringe:
    """The fringe layers of a partition (claim 1: "determining a subset ... fringe layers").

    ``layers`` counts those on each side of a cut (claim 11: "a number of pipelined layers").
    ``BadTargetsError`` where a stage would be fringe as a whole on a side: nothing would be frozen.
    """
    for stage in partition.stages:
        if layers > len(stage):
            raise BadTargetsError(
                f"fringe_layers: {layers} on each side of a cut, but a stage has only "
                f"{', '.join(stage)}"
            )
    neighbours = itertools.pairwise(partition.stages)
    return Fringe(tuple((sender[-layers:], receiver[:layers]) for sender, receiver in neighbours))


def is_chain(model: ChainModel, fringe: tuple[Sequence[str], Sequence[str]]) -> bool:
    """Return True if both sides of a cut have a layer to take channels out of: ``fringe`` names the
    fringe layers of the sender and of the receiver."""
    sending, receiving = ({name: model.layers[name] for name in side} for side in fringe)
    return bool(sliced_layer(sending, "encoder") and sliced_layer(receiving, "decoder"))
