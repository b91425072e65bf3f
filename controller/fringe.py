"""Fringe layers: those that touch each other across the network (US 2025/0265465 A1, [0035]).

FIG. 5, step 515: at every cut the last layer of the sending stage and the first layer of the
receiving one. Step 520: every other layer is frozen.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from controller.partition import Partition
from stage_node.digest import layer_of


@dataclass(frozen=True)
class Fringe:
    """The two fringe layers of every cut: ``(sending side, receiving side)``, first cut first."""

    pairs: tuple[tuple[str, str], ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of all fringe layers, each once, in the order of the chain."""
        return tuple(dict.fromkeys(layer for pair in self.pairs for layer in pair))

    def frozen(self, tensor_names: Iterable[str]) -> tuple[str, ...]:
        """Those of a model's tensors that must not change ([0049], claim 4), in order."""
        fringe = frozenset(self.layers)
        return tuple(name for name in tensor_names if layer_of(name) not in fringe)


def find_fringe(partition: Partition) -> Fringe:
    """The fringe layers of a partition (claim 1: "determining a subset ... fringe layers")."""
    neighbours = itertools.pairwise(partition.stages)
    return Fringe(tuple((sender[-1], receiver[0]) for sender, receiver in neighbours))
