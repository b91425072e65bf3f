"""The automatic split: which layers run on which device, for given devices and connections.

A pipeline delivers frames as fast as its slowest step, computing or sending, so the partition with
the fastest slowest step is taken (US 2025/0265465 A1, claim 1 and [0046]; the dynamic programme is
``split_by_bottleneck``), and of several the one through which a frame is sooner. Frames count
uncompressed: what compression gains later is gained on top.

The device speeds are a model for this decision: what makes an emulated host slower is its CPU share
(``network.cpu_share``), which is its speed unless another is given.
"""

from collections.abc import Iterator
from functools import cached_property

from pydantic import Field

from controller.split.partition import Partition, split_balanced, split_by_bottleneck
from controller.split.profiling import LayerCost
from stage_node.models import ChainModel
from stage_node.records.line.transfer_time import serialisation_ms
from stage_node.records.record import Record

BALANCED = "balanced by multiply-accumulates"


class PlacementDevice(Record):
    """A device for a stage; ``speed`` relative to the machine that the layers were measured on."""

    host: str
    speed: float = Field(default=1.0, gt=0)


class Hop(Record):
    """From one device to the next: the lowest rate on the way (none: not shaped), its delays."""

    rate_mbit: float | None = Field(gt=0)
    delay_ms: float = Field(ge=0)

    def sending_ms(self, frame_bytes: int) -> float:
        """Time that a frame occupies the slowest link of the way, ms."""
        return 0.0 if self.rate_mbit is None else serialisation_ms(frame_bytes, self.rate_mbit)


class Costs(Record):
    """Basis of the decision: ``layers`` as measured with frames of ``batch`` images."""

    batch: int
    layers: tuple[LayerCost, ...]
    devices: tuple[PlacementDevice, ...]
    connections: tuple[Hop, ...]

    def computing_ms(self, stage: int, layer: str) -> float:
        """Time of a layer on the device of a stage, for one frame, ms."""
        return self.by_name[layer].compute_ms / self.devices[stage].speed

    def sending_ms(self, cut: int, after: str) -> float:
        """Time of one frame over a connection, if the cut comes after that layer, ms."""
        return self.connections[cut].sending_ms(self.by_name[after].frame_bytes)

    def steps_ms(self, partition: Partition) -> Iterator[tuple[str, float]]:
        """Every step of the pipeline by name, with its time for one frame."""
        for stage, layers in enumerate(partition.stages):
            host = self.devices[stage].host
            yield f"computing on {host}", sum(self.computing_ms(stage, name) for name in layers)
        for cut, after in enumerate(partition.cuts):
            way = f"{self.devices[cut].host} to {self.devices[cut + 1].host}"
            yield f"sending from {way}", self.sending_ms(cut, after)

    def bottleneck(self, partition: Partition) -> tuple[str, float]:
        """The slowest step and its time."""
        return max(self.steps_ms(partition), key=lambda step: step[1])

    @cached_property
    def by_name(self) -> dict[str, LayerCost]:
        """The layers, to be looked up."""
        return {layer.name: layer for layer in self.layers}


class Placement(Record):
    """The decision, and its basis.

    ``steps_ms`` holds each step of the pipeline with its time for one frame, ``latency_ms`` their
    sum and the delays of the connections. ``alternatives_ms`` holds the slowest step of other
    partitions: the one that only balances computing, and those with one cut moved by one layer.
    """

    costs: Costs
    stages: tuple[tuple[str, ...], ...]
    steps_ms: dict[str, float]
    latency_ms: float
    alternatives_ms: dict[str, float]

    @property
    def partition(self) -> Partition:
        """The layers, stage by stage."""
        return Partition(self.stages)

    @property
    def reason(self) -> str:
        """The decision in words."""
        slowest, slowest_ms = self.costs.bottleneck(self.partition)
        return (
            f"cut after {' and '.join(self.partition.cuts)}, where the slowest step of a frame, "
            f"{slowest}, is expected to take {slowest_ms:.3g} ms; balanced by computing alone "
            f"it would take {self.alternatives_ms[BALANCED]:.3g} ms"
        )


def choose_placement(model: ChainModel, costs: Costs) -> Placement:
    """The best partition of a model over the devices of ``costs``, one stage each.

    ``BadPartitionError`` where there are more devices than layers.
    """
    layers, stages = model.layer_names, len(costs.devices)
    chosen = split_by_bottleneck(layers, stages, costs.computing_ms, costs.sending_ms)
    others = {
        BALANCED: split_balanced(layers, stages, model.macs()),
        **{f"after {', '.join(other.cuts)}": other for other in _neighbours(chosen)},
    }
    steps = dict(costs.steps_ms(chosen))
    return Placement(
        costs=costs,
        stages=chosen.stages,
        steps_ms=steps,
        latency_ms=sum(steps.values()) + sum(c.delay_ms for c in costs.connections),
        alternatives_ms={name: costs.bottleneck(other)[1] for name, other in others.items()},
    )


def _neighbours(partition: Partition) -> Iterator[Partition]:
    """The partitions with one cut moved by one layer."""
    for cut in range(len(partition.cuts)):
        before, after = partition.stages[cut : cut + 2]
        for moved in (
            (before[:-1], (before[-1], *after)),
            ((*before, after[0]), after[1:]),
        ):
            if all(moved):
                yield Partition((*partition.stages[:cut], *moved, *partition.stages[cut + 2 :]))
