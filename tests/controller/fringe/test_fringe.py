"""Fringe layers, and the proof that nothing else changed."""

import hashlib

import pytest
import torch
from torch import Tensor

from controller.errors import BadTargetsError
from controller.fringe.fringe import find_fringe
from controller.split.partition import split_after
from stage_node.models import ChainModel, ModelSpec, build_model
from stage_node.models.frozen import combined_sha256, frozen_sha256

SPEC = ModelSpec(depth=8, width=4, classes=10, in_channels=1, image_size=8)
CUTS = ("block1_0", "block2_0")


@pytest.fixture
def model() -> ChainModel:
    torch.manual_seed(0)
    return build_model(SPEC).eval()


def test_the_fringe_is_the_two_layers_that_touch_at_every_cut(model: ChainModel) -> None:
    fringe = find_fringe(split_after(model.layer_names, CUTS))
    assert fringe.pairs == (
        (("block1_0",), ("block2_0",)),
        (("block2_0",), ("block3_0",)),
    )
    assert fringe.layers == ("block1_0", "block2_0", "block3_0")


def test_more_layers_than_one_may_be_fringe_but_no_more_than_a_stage_has(
    model: ChainModel,
) -> None:
    partition = split_after(model.layer_names, ["block1_0"])
    fringe = find_fringe(partition, layers=2)
    assert fringe.pairs == ((("stem", "block1_0"), ("block2_0", "block3_0")),)
    with pytest.raises(BadTargetsError, match=r"fringe_layers: 3 .* only stem, block1_0"):
        find_fringe(partition, layers=3)


def test_a_model_on_one_device_has_no_fringe(model: ChainModel) -> None:
    fringe = find_fringe(split_after(model.layer_names, []))
    assert fringe.layers == ()
    assert fringe.frozen(model.state_dict()) == tuple(model.state_dict())


def test_everything_but_the_fringe_is_frozen(model: ChainModel) -> None:
    fringe = find_fringe(split_after(model.layer_names, CUTS))
    frozen = fringe.frozen(model.state_dict())
    assert {name.split(".")[1] for name in frozen} == {"stem", "head"}
    assert len(frozen) == 5 + 2  # conv, four BatchNorm tensors; weight and bias


def test_the_digest_is_the_documented_canonical_form() -> None:
    tensors = {
        "layers.b.bias": torch.tensor([1.0, -2.0]),
        "layers.a.count": torch.tensor(7),
    }
    expected = hashlib.sha256(
        b"layers.a.count torch.int64 ()\n"
        + (7).to_bytes(8, "little")
        + b"layers.b.bias torch.float32 (2,)\n"
        + bytes.fromhex("0000803f000000c0")
    ).hexdigest()
    assert frozen_sha256(tensors) == expected


def changed(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The last bit of one element flipped."""
    tensor = state[name].clone()
    tensor.view(torch.int32).view(-1)[-1] ^= 1
    return {**state, name: tensor}


def test_one_flipped_bit_of_a_frozen_tensor_is_seen_and_one_of_the_fringe_is_not(
    model: ChainModel,
) -> None:
    state = dict(model.state_dict())
    fringe = find_fringe(split_after(model.layer_names, CUTS))
    before = frozen_sha256(state, fringe.layers)
    for name in state:
        after = frozen_sha256(changed(state, name), fringe.layers)
        assert (after != before) == (name in fringe.frozen(state)), name


def test_the_stages_digests_depend_on_no_order_of_tensors_but_on_the_order_of_stages(
    model: ChainModel,
) -> None:
    state = dict(model.state_dict())
    backwards = dict(reversed(state.items()))
    assert frozen_sha256(state) == frozen_sha256(backwards)
    assert combined_sha256(["a", "b"]) != combined_sha256(["b", "a"])


def test_a_tensor_in_another_memory_layout_has_the_same_digest() -> None:
    weight = torch.randn(4, 3, 2, 2)
    other_layout = weight.contiguous(memory_format=torch.channels_last)
    assert other_layout.stride() != weight.stride()
    assert frozen_sha256({"layers.a.w": weight}) == frozen_sha256({"layers.a.w": other_layout})
