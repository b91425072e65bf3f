"""Models are chains of named layers; their sizes are those of the papers."""

import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open

from stage_node.errors import BadModelError
from stage_node.models import (
    ModelSpec,
    build_model,
    load_checkpoint,
    load_layers,
    load_weights,
    save_checkpoint,
)

SMALL = ModelSpec(depth=14, width=4, classes=10, in_channels=1, image_size=8, downsample="pool")


@pytest.mark.parametrize(
    ("depth", "classes", "downsample", "parameters", "buffers", "million_macs"),
    [
        # Accordion's arithmetic, recomputed from the architecture on paper.
        (20, 10, "option-a", 269_722, 1_376, 40.55),
        (20, 10, "pool", 292_762, 1_376, 42.91),
        (20, 100, "pool", 298_612, 1_376, 42.92),
        (56, 10, "option-a", 853_018, 4_064, 125.49),
        (56, 10, "pool", 876_058, 4_064, 127.84),
        (110, 100, "option-a", 1_733_812, 8_096, 252.89),
        (110, 100, "pool", 1_756_852, 8_096, 255.25),
    ],
)
def test_a_resnet_has_the_published_size(
    depth, classes, downsample, parameters, buffers, million_macs
):
    spec = ModelSpec(
        depth=depth, classes=classes, in_channels=3, image_size=32, downsample=downsample
    )
    model = build_model(spec)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert sum(b.numel() for b in model.buffers()) == buffers
    assert round(sum(model.macs().values()) / 1e6, 2) == million_macs


def test_every_equal_block_costs_the_same_macs_but_four_times_the_bytes_of_the_block_before():
    model = build_model(ModelSpec(depth=56, classes=10, in_channels=3, image_size=32,
                                  downsample="pool"))  # fmt: skip
    macs = model.macs()
    assert {macs[n] for n in macs if n.startswith("block")} == {4_718_592}
    sizes = [sum(p.numel() for p in model.layers[f"block{i}_0"].parameters()) for i in (1, 2, 3)]
    assert sizes == [4_672, 18_560, 73_984]


@pytest.mark.parametrize("downsample", ["option-a", "pool"])
@pytest.mark.parametrize("image_size", [8, 9, 32])
def test_running_the_segments_one_after_the_other_is_running_the_model(downsample, image_size):
    spec = SMALL.model_copy(update={"downsample": downsample, "image_size": image_size})
    model = build_model(spec).eval()
    images = torch.randn(3, 1, image_size, image_size)
    for cut in range(1, len(model.layer_names)):
        front = model.segment(model.layer_names[:cut])
        back = model.segment(model.layer_names[cut:])
        activation = front(images)
        assert tuple(activation.shape) == model.shapes(batch=3)[model.layer_names[cut - 1]]
        assert torch.equal(back(activation), model(images))


def test_the_chain_names_its_layers_and_a_segment_shares_them():
    model = build_model(SMALL)
    assert model.layer_names == (
        "stem", "block1_0", "block1_1", "pool2", "block2_0", "block2_1",
        "pool3", "block3_0", "block3_1", "head",
    )  # fmt: skip
    segment = model.segment(["block1_1", "pool2", "block2_0"])
    assert segment.layers["block2_0"] is model.layers["block2_0"]
    assert "layers.block2_0.conv1.weight" in segment.state_dict()


@pytest.mark.parametrize("names", [[], ["nowhere"], ["stem", "pool2"], ["block1_1", "block1_0"]])
def test_a_segment_of_layers_that_do_not_follow_each_other_is_refused(names):
    with pytest.raises(BadModelError):
        build_model(SMALL).segment(names)


def test_a_configuration_keeps_the_leftmost_blocks_and_everything_between():
    model = build_model(SMALL)
    assert model.full_configuration == (2, 2, 2)
    assert model.subset((1, 0, 2)) == (
        "stem", "block1_0", "pool2", "pool3", "block3_0", "block3_1", "head",
    )  # fmt: skip
    assert model.configured((0, 0, 0))(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


def test_with_option_a_the_blocks_that_change_the_shape_cannot_be_left_out():
    model = build_model(SMALL.model_copy(update={"downsample": "option-a"}))
    assert model.configured((0, 1, 1))(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    with pytest.raises(BadModelError, match="block3_0"):
        model.subset((2, 2, 0))


@pytest.mark.parametrize("configuration", [(1, 1), (3, 0, 0), (-1, 0, 0), (0, 0, 0, 0)])
def test_a_configuration_of_another_model_is_refused(configuration):
    with pytest.raises(BadModelError):
        build_model(SMALL).subset(configuration)


def test_nonsense_is_refused_by_name():
    with pytest.raises(BadModelError, match="6n"):
        build_model(SMALL.model_copy(update={"depth": 21}))
    with pytest.raises(BadModelError, match="resnet"):
        build_model(SMALL.model_copy(update={"family": "perceptron"}))
    with pytest.raises(ValidationError):
        ModelSpec(depth=20, classes=10, in_channels=1, image_size=7)
    with pytest.raises(ValidationError):
        ModelSpec(depth=20, classes=10, in_channels=1, image_size=8, colour="red")


def test_asking_for_shapes_and_macs_leaves_the_model_as_it_was():
    model = build_model(SMALL).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.shapes()
    model.macs()
    assert model.training
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_a_checkpoint_returns_the_same_model_and_says_what_it_is(tmp_path):
    model = build_model(SMALL).eval()
    save_checkpoint(tmp_path / "m.safetensors", model, {"command": "how it was made"})
    copy = load_checkpoint(tmp_path / "m.safetensors")
    images = torch.randn(2, 1, 8, 8)
    assert copy.spec == SMALL
    assert torch.equal(copy(images), model(images))
    with safe_open(tmp_path / "m.safetensors", framework="pt") as file:
        assert file.metadata()["command"] == "how it was made"


def test_a_stage_takes_only_its_own_layers_from_a_checkpoint(tmp_path):
    model = build_model(SMALL)
    save_checkpoint(tmp_path / "m.safetensors", model)
    names = ("block2_1", "pool3", "block3_0")
    tensors = load_layers(tmp_path / "m.safetensors", names)
    assert set(tensors) == set(model.segment(names).state_dict())
    assert len(tensors) == 20
    load_weights(build_model(SMALL).segment(names), tensors)
    with pytest.raises(BadModelError, match="do not fit the model"):
        load_weights(model.segment(["stem"]), tensors)


def test_a_broken_checkpoint_is_named(tmp_path):
    path = tmp_path / "m.safetensors"
    with pytest.raises(BadModelError, match="no such checkpoint"):
        load_checkpoint(path)
    save_checkpoint(path, build_model(SMALL))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadModelError, match="not a safetensors file"):
        load_checkpoint(path)
