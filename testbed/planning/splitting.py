"""Splits the model of an experiment: as the file says, or as measurements decide."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from controller.split.compute_table import reference_table
from controller.split.partition import Partition, split_after, split_balanced, split_by_size
from controller.split.placement import Costs, Hop, Placement, PlacementDevice, choose_placement
from controller.split.profiling import layer_costs
from stage_node.models import ChainModel
from testbed.devices.computing import HostDevice
from testbed.experiment.file import PipelineSection
from topologies.networks.paths import bottleneck_mbit, delay_ms, path_between
from topologies.networks.spec import NetworkSpec

FASTEST = 1e9
"""What computes in no time is taken to be so fast: plans are JSON, which has no infinity."""


@dataclass(frozen=True)
class ModelSplit:
    """A partition, and the decision that it comes from where there was one to take."""

    partition: Partition
    placement: Placement | None = None


def split_of(
    section: PipelineSection,
    model: ChainModel,
    checkpoint: Path,
    network: NetworkSpec | None,
    devices: Mapping[str, HostDevice],
) -> ModelSplit:
    """Split the model in ``checkpoint`` as a pipeline section asks.

    Only an automatic split asks for the network and for the devices, by host. ``BadPartitionError``
    where the model cannot be split so.
    """
    split, layers = section.split, model.layer_names
    if split.after is not None:
        return ModelSplit(split_after(layers, split.after, model.residual))
    if split.layers is not None:
        return ModelSplit(split_by_size(layers, split.layers))
    if split.stages is not None:
        return ModelSplit(split_balanced(layers, split.stages, model.macs()))
    assert network is not None, "an automatic split is decided for a network"
    table = reference_table(checkpoint, section.batch)
    costs = Costs(
        batch=section.batch,
        layers=layer_costs(model, section.batch, table.layer_ms(section.batch)),
        devices=tuple(
            PlacementDevice(
                host=host,
                speed=min(
                    section.speeds.get(host, devices[host].speed(table, section.batch)), FASTEST
                ),
            )
            for host in section.hosts
        ),
        connections=connections_of(network, section.hosts),
    )
    placement = choose_placement(model, costs)
    return ModelSplit(placement.partition, placement)


def connections_of(network: NetworkSpec, hosts: Sequence[str]) -> tuple[Hop, ...]:
    """Hops between consecutive hosts, from the links' profiles."""
    paths = [path_between(network, sender, receiver) for sender, receiver in pairwise(hosts)]
    rates = map(bottleneck_mbit, paths)
    return tuple(
        Hop(rate_mbit=None if math.isinf(rate) else rate, delay_ms=delay_ms(path))
        for rate, path in zip(rates, paths, strict=True)
    )
