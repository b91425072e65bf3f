"""Splitting a chain of layers by hand and by bottleneck."""

import itertools
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import BadPartitionError
from controller.split.partition import (
    Partition,
    split_after,
    split_balanced,
    split_by_bottleneck,
    split_by_size,
)

RESNET = ("stem", "block1_0", "block1_1", "block2_0", "block2_1", "block3_0", "head")


def test_a_user_cuts_after_the_layers_named() -> None:
    partition = split_after(RESNET, ["block1_1", "block2_1"])
    assert partition.stages == (
        ("stem", "block1_0", "block1_1"),
        ("block2_0", "block2_1"),
        ("block3_0", "head"),
    )
    assert partition.cuts == ("block1_1", "block2_1")
    assert partition.layers == RESNET


def test_a_misspelt_layer_is_answered_with_the_nearest_and_with_all_there_are() -> None:
    with pytest.raises(BadPartitionError) as error:
        split_after(RESNET, ["block1_2"])
    assert str(error.value).startswith("cuts: the model has no layer 'block1_2'; did you mean '")
    assert all(layer in str(error.value) for layer in RESNET)


def test_a_name_like_nothing_gets_no_suggestion() -> None:
    with pytest.raises(BadPartitionError, match="has no layer 'zzz' Its layers") as error:
        split_after(RESNET, ["zzz"])
    assert "did you mean" not in str(error.value)


@pytest.mark.parametrize(
    ("cuts", "complaint"),
    [
        (["block2_0", "block1_0"], "cuts: 'block1_0' cannot come after 'block2_0'"),
        (["block2_0", "block2_0"], "cuts: 'block2_0' cannot come after 'block2_0'"),
        (["head"], "cuts: nothing is left for a stage after 'head'"),
    ],
)
def test_cuts_that_make_no_stages_are_refused(cuts: list[str], complaint: str) -> None:
    with pytest.raises(BadPartitionError, match=complaint):
        split_after(RESNET, cuts)


@pytest.mark.parametrize("stages", [0, -1, 8])
def test_a_number_of_stages_the_layers_cannot_fill_is_refused(stages: int) -> None:
    with pytest.raises(BadPartitionError, match=f"stages: {stages} stages cannot share"):
        split_balanced(RESNET, stages, dict.fromkeys(RESNET, 1.0))


@pytest.mark.parametrize(
    "costs", [{"a": 1.0}, {"a": 1.0, "b": -1.0}, {"a": 1.0, "b": float("nan")}]
)
def test_a_layer_without_a_usable_cost_is_named(costs: dict[str, float]) -> None:
    with pytest.raises(BadPartitionError, match="layer 'b' has no usable cost"):
        split_balanced(["a", "b"], 2, costs)


def test_balancing_follows_the_cost_and_not_the_number_of_layers() -> None:
    costs = {"stem": 9.0, "block1_0": 1.0, "block1_1": 1.0, "block2_0": 1.0, "head": 1.0}
    assert split_balanced(tuple(costs), 2, costs).cuts == ("stem",)


def test_a_slow_connection_moves_the_cut_to_where_less_is_sent() -> None:
    layers = ("a", "b", "c", "d")
    sent = {"a": 1.0, "b": 50.0, "c": 2.0}
    partition = split_by_bottleneck(layers, 2, lambda *_: 1.0, lambda _, layer: sent[layer])
    assert partition.cuts == ("a",)


def every_partition(layers: Sequence[str], stages: int) -> Iterator[Partition]:
    for inner in itertools.combinations(range(1, len(layers)), stages - 1):
        bounds = (0, *inner, len(layers))
        yield Partition(tuple(tuple(layers[a:b]) for a, b in itertools.pairwise(bounds)))


@given(st.data())
def test_no_partition_has_a_smaller_bottleneck_or_with_that_one_a_smaller_latency(
    data: st.DataObject,
) -> None:
    cost = st.integers(0, 20)
    layers = [f"layer{i}" for i in range(data.draw(st.integers(1, 7)))]
    stages = data.draw(st.integers(1, len(layers)))
    compute = {(stage, layer): data.draw(cost) for stage in range(stages) for layer in layers}
    transfer = {(cut, layer): data.draw(cost) for cut in range(stages) for layer in layers}

    def slowest_and_sum(partition: Partition) -> tuple[float, float]:
        computing = [
            sum(compute[stage, layer] for layer in names)
            for stage, names in enumerate(partition.stages)
        ]
        sending = [transfer[cut, layer] for cut, layer in enumerate(partition.cuts)]
        return max(computing + sending), sum(computing + sending)

    found = split_by_bottleneck(
        layers,
        stages,
        lambda stage, layer: compute[stage, layer],
        lambda cut, layer: transfer[cut, layer],
    )
    assert found.layers == tuple(layers)
    assert len(found.stages) == stages
    assert slowest_and_sum(found) == min(map(slowest_and_sum, every_partition(layers, stages)))


@given(st.lists(st.text("abc", min_size=1), min_size=2, unique=True), st.data())
def test_a_partition_by_its_own_cuts_is_itself(layers: list[str], data: st.DataObject) -> None:
    stages = data.draw(st.integers(1, len(layers)))
    partition = split_balanced(layers, stages, dict.fromkeys(layers, 1.0))
    assert split_after(layers, partition.cuts) == partition


def test_of_equal_bottlenecks_the_smallest_latency_is_chosen() -> None:
    """Stage 1 is the slowest step wherever the model is cut; sending less shortens the way."""
    layers = ("a", "b", "c", "d")
    compute = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 9.0}
    sent = {"a": 5.0, "b": 2.0, "c": 7.0}
    partition = split_by_bottleneck(
        layers, 2, lambda _, layer: compute[layer] if layer == "d" else 0.0, lambda _, c: sent[c]
    )
    assert partition.cuts == ("b",)


def test_machines_get_as_many_layers_as_they_are_given() -> None:
    partition = split_by_size(RESNET, [3, 2, 2])
    assert partition.cuts == ("block1_1", "block2_1")
    assert partition.layers == RESNET


@pytest.mark.parametrize("sizes", [[3, 3], [7, 1], [7, 0], [8, -1], [1] * 8])
def test_numbers_of_layers_that_do_not_make_the_model_are_refused(sizes: list[int]) -> None:
    with pytest.raises(BadPartitionError, match=r"layers: .*; the model has 7: stem, block1_0"):
        split_by_size(RESNET, sizes)


@pytest.mark.parametrize(
    ("place", "residual", "complaint"),
    [
        (
            "block2_0.conv1",
            {"block2_0"},
            "cuts: 'block2_0.conv1' lies inside block2_0: a cut there would sever the skip "
            "connection of block2_0, which a cut cannot carry; the nearest places for a cut are "
            "after 'block1_1' or after 'block2_0'",
        ),
        (
            "block2_0.conv",
            set(),
            "cuts: 'block2_0.conv' lies inside block2_0, which runs as a whole; the nearest "
            "places for a cut are after 'block1_1' or after 'block2_0'",
        ),
        (
            "stem.bn",
            {"block2_0"},
            "cuts: 'stem.bn' lies inside stem, which runs as a whole; the nearest places for a "
            "cut are after 'stem'",
        ),
        (
            "head.linear",
            {"block2_0"},
            "cuts: 'head.linear' lies inside head, which runs as a whole; the nearest places for "
            "a cut are after 'block3_0'",
        ),
    ],
)
def test_a_cut_within_a_layer_is_refused_with_the_reason_and_the_nearest_places(
    place: str, residual: set[str], complaint: str
) -> None:
    with pytest.raises(BadPartitionError) as error:
        split_after(RESNET, [place], residual)
    assert str(error.value) == complaint
