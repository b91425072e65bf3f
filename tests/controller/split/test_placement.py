"""The automatic split: measured compute, device speeds and links decide, and the decision is told.

The numbers are chosen so that the answers can be had by hand.
"""

import itertools
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import BadPartitionError
from controller.split.partition import Partition
from controller.split.placement import (
    BALANCED,
    Costs,
    Hop,
    Placement,
    PlacementDevice,
    choose_placement,
)
from controller.split.profiling import LEAST_RUNS, LayerCost, layer_costs, measure_layers
from stage_node.models import ModelSpec, build_model

MODEL = build_model(
    ModelSpec(
        family="vgg", depth=5, width=4, classes=10, in_channels=1, image_size=8, downsample="max"
    )
)
LAYERS = ("stem", "conv1_0", "pool2", "conv2_0", "pool3", "conv3_0", "head")


def costs(speeds: list[float], rates: list[float | None]) -> Costs:
    """Every layer takes 1 ms; the frames that they send shrink from 8 kB to 1 kB."""
    sizes = (8000, 8000, 2000, 4000, 1000, 2000, 100)
    return Costs(
        batch=1,
        layers=tuple(
            LayerCost(name=name, compute_ms=1, frame_bytes=size)
            for name, size in zip(LAYERS, sizes, strict=True)
        ),
        devices=tuple(PlacementDevice(host=f"h{i}", speed=speed) for i, speed in enumerate(speeds)),
        connections=tuple(Hop(rate_mbit=rate, delay_ms=10) for rate in rates),
    )


def test_equal_devices_on_fast_links_share_the_layers_evenly() -> None:
    chosen = choose_placement(MODEL, costs([1, 1], [None]))
    assert sorted(len(layers) for layers in chosen.stages) == [3, 4]
    assert chosen.latency_ms == 7 + 10


def test_a_slow_device_gets_fewer_layers() -> None:
    # One layer takes 4 ms on h0: two would take longer than the six others on h1.
    assert choose_placement(MODEL, costs([0.25, 1], [None])).partition.cuts == ("stem",)


def test_a_slow_link_is_crossed_where_the_activation_is_small() -> None:
    # At 1 Mbit/s the smallest activation takes 8 ms, more than all layers together.
    chosen = choose_placement(MODEL, costs([1, 1], [1]))
    assert chosen.partition.cuts == ("pool3",)
    assert chosen.steps_ms == {
        "computing on h0": 5,
        "computing on h1": 2,
        "sending from h0 to h1": 8,
    }
    assert chosen.latency_ms == 25


def test_what_was_decided_is_told_beside_its_alternatives_and_survives_as_json() -> None:
    chosen = choose_placement(MODEL, costs([1, 1], [1]))
    balanced = chosen.alternatives_ms[BALANCED]
    assert {name for name in chosen.alternatives_ms if name != BALANCED} == {
        "after conv2_0",
        "after conv3_0",
    }
    assert chosen.alternatives_ms["after conv2_0"] == 32
    assert min(chosen.alternatives_ms.values()) > 8
    assert chosen.reason == (
        "cut after pool3, where the slowest step of a frame, sending from h0 to h1, is expected "
        f"to take 8 ms; balanced by computing alone it would take {balanced:.3g} ms"
    )
    assert Placement.model_validate_json(chosen.model_dump_json()) == chosen


def test_more_devices_than_layers_are_refused() -> None:
    with pytest.raises(BadPartitionError, match="8 stages cannot share the model's 7 layers"):
        choose_placement(MODEL, costs([1] * 8, [None] * 7))


@settings(max_examples=60)
@given(
    st.lists(st.floats(0.05, 4), min_size=2, max_size=4),
    st.lists(st.none() | st.floats(0.1, 100), min_size=3, max_size=3),
)
def test_no_placement_has_a_faster_slowest_step(
    speeds: list[float], rates: list[float | None]
) -> None:
    given_costs = costs(speeds, rates[: len(speeds) - 1])
    chosen = choose_placement(MODEL, given_costs)

    def slowest(partition: Partition) -> float:
        computing = [len(s) / speed for s, speed in zip(partition.stages, speeds, strict=True)]
        sending = [
            given_costs.by_name[cut].frame_bytes * 8e-3 / rate if rate else 0.0
            for cut, rate in zip(partition.cuts, rates, strict=False)
        ]
        return max(computing + sending)

    every = (
        Partition(tuple(LAYERS[a:b] for a, b in itertools.pairwise((0, *ends, len(LAYERS)))))
        for ends in itertools.combinations(range(1, len(LAYERS)), len(speeds) - 1)
    )
    assert slowest(chosen.partition) == pytest.approx(min(map(slowest, every)), rel=1e-9)


def test_a_layer_costs_its_time_and_its_frame() -> None:
    costs = layer_costs(MODEL, 4, {name: float(place) for place, name in enumerate(LAYERS)})
    assert tuple(layer.name for layer in costs) == LAYERS
    assert [layer.compute_ms for layer in costs] == list(range(len(LAYERS)))
    header = 64
    assert [layer.frame_bytes - header for layer in costs] == [
        4 * 4 * values for values in (4 * 64, 4 * 64, 4 * 16, 8 * 16, 8 * 4, 16 * 4, 10)
    ]


def test_measuring_sees_which_layer_is_slow_and_leaves_the_model_as_it_was() -> None:
    class Slow(torch.nn.Module):
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            begin = time.thread_time()
            while time.thread_time() < begin + 0.02:
                pass
            return x

    model = build_model(MODEL.spec)
    slow = Slow()
    model.layers["pool2"] = slow
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    threads = torch.get_num_threads()
    layer_ms = measure_layers(model, batch=1)
    assert tuple(layer_ms) == LAYERS and all(ms > 0 for ms in layer_ms.values())
    assert max(layer_ms, key=lambda name: layer_ms[name]) == "pool2"
    assert slow.calls >= LEAST_RUNS
    assert all(torch.equal(weights[name], t) for name, t in model.state_dict().items())
    assert torch.get_num_threads() == threads
