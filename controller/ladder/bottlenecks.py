"""Distilled modules as files: which cut each is for, and what either side of it receives."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from controller.errors import BadTargetsError
from controller.fringe.fringe import find_fringe
from controller.ladder.ladder import ModuleFile
from controller.split.partition import Partition
from stage_node.fringe.bottleneck import TrainedBottleneck, load_bottleneck
from stage_node.fringe.messages import LoadModule, Side
from stage_node.models import ChainModel
from stage_node.models.frozen import layer_of
from stage_node.wire.rung import Bits


@dataclass(frozen=True, eq=False)
class DistilledModule:
    """A trained bottleneck for one cut; ``fringe`` has that cut's layers, sender's and
    receiver's."""

    name: str
    cut: int
    trained: TrainedBottleneck
    fringe: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def bits(self) -> Bits:
        """Bits of each of its codes."""
        return self.trained.spec.bits

    def layers_of(self, side: Side) -> tuple[str, ...]:
        """The tuned fringe layers on one side, in the order of the chain."""
        tuned = {layer_of(name) for name in self.trained.layers}
        own = self.fringe[0 if side == "encoder" else 1]
        return tuple(layer for layer in own if layer in tuned)

    def request(self, side: Side) -> LoadModule:
        """Message that announces one half of it to a stage."""
        return LoadModule(
            cut=self.cut,
            side=side,
            module=self.name,
            bottleneck=self.trained.spec,
            layers=self.layers_of(side),
        )

    def tensors(self, side: Side) -> dict[str, Tensor]:
        """The tensors of one half, as ``LoadModule`` names them."""
        half = self.trained.encoder if side == "encoder" else self.trained.decoder
        own = {f"{side}.{name}": tensor for name, tensor in half.state_dict().items()}
        layers = self.layers_of(side)
        tuned = {n: t for n, t in self.trained.layers.items() if layer_of(n) in layers}
        return own | tuned


def load_modules(
    files: Sequence[ModuleFile], model: ChainModel, partition: Partition, fringe_layers: int
) -> tuple[DistilledModule, ...]:
    """Read modules; ``BadTargetsError`` where one does not fit the partition."""
    pairs = find_fringe(partition, fringe_layers).pairs
    shapes = model.shapes()
    modules = []
    for file in files:
        if file.after not in partition.cuts:
            raise BadTargetsError(
                f"module {file.name}: no cut after '{file.after}', only after "
                f"{', '.join(partition.cuts)}"
            )
        trained = load_bottleneck(Path(file.file))
        shape = shapes[file.after][1:]
        if trained.spec.in_shape != shape:
            raise BadTargetsError(
                f"module {file.name}: trained for {trained.spec.in_shape}, the activation after "
                f"'{file.after}' is {shape}"
            )
        cut = partition.cuts.index(file.after)
        tuned = {layer_of(name) for name in trained.layers}
        if strangers := sorted(tuned - {layer for side in pairs[cut] for layer in side}):
            raise BadTargetsError(
                f"module {file.name}: tunes {', '.join(strangers)}, no fringe layer of its cut"
            )
        modules.append(DistilledModule(file.name, cut, trained, pairs[cut]))
    return tuple(modules)
