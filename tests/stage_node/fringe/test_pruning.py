"""Fringe layers that are themselves pruned, against models whose weights are zero instead."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

from stage_node.errors import BadModelError
from stage_node.fringe.pruning import Pruning, sliced_layer, with_weights
from stage_node.models import ChainModel, ModelSpec, build_model
from stage_node.models.frozen import frozen_sha256
from stage_node.models.slicing import with_inputs, with_outputs

WIDTH = 6
VGG = ModelSpec(
    family="vgg", depth=8, width=WIDTH, classes=10, in_channels=1, image_size=8, downsample="max"
)
RESNET = ModelSpec(depth=8, width=4, classes=10, in_channels=1, image_size=8)
VIT = ModelSpec(
    family="vit",
    depth=2,
    width=8,
    classes=10,
    in_channels=1,
    image_size=8,
    options={"patch": 2, "heads": 2},
)


def random_model(spec: ModelSpec = VGG) -> ChainModel:
    """Every parameter and statistic matters."""
    torch.manual_seed(2)
    model = build_model(spec).eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias):
                nn.init.uniform_(tensor, -0.3, 0.6)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model


def parameters(layer: nn.Module) -> int:
    return sum(parameter.numel() for parameter in layer.parameters())


def pruned(model: ChainModel, sending: tuple[str, ...], receiving: tuple[str, ...], kept: Tensor):
    """The layers of a whole model, both sides of one cut sliced."""
    layers = dict(model.layers.items())
    layers = Pruning("encoder", sending, kept).applied(layers)
    return Pruning("decoder", receiving, kept).applied(layers)


CUTS = [
    (("conv1_0",), ("conv1_1",)),
    (("stem",), ("conv1_0",)),
    (("conv1_1",), ("pool2", "conv2_0")),
    (("conv1_1", "pool2"), ("conv2_0", "conv2_1")),
    (("conv3_1",), ("head",)),
]


@pytest.mark.parametrize(("sending", "receiving"), CUTS)
@torch.inference_mode()
def test_a_sliced_pair_is_a_pair_whose_other_channels_are_zero(
    sending: tuple[str, ...], receiving: tuple[str, ...]
) -> None:
    model = random_model()
    images = torch.randn(5, 1, 8, 8)
    channels = model.shapes()[sending[-1]][1]
    kept = torch.randperm(channels)[: channels // 2].sort().values
    # the oracle: convolution, scale and offset of the other channels are zero, and so is what
    # comes out of them; nothing is sliced
    zeroed = copy.deepcopy(model)
    others = [channel for channel in range(channels) if channel not in kept]
    (conv,) = (name for name in sending if name != "pool2")
    zeroed.layers[conv].conv.weight[others] = 0
    zeroed.layers[conv].bn.running_mean[others] = 0
    zeroed.layers[conv].bn.bias[others] = 0
    x = images
    for name, layer in pruned(model, sending, receiving, kept).items():
        x = layer(x)
        if name == sending[-1]:
            assert x.shape[1] == len(kept), "that is what crosses"
    assert not torch.allclose(x, model(images), atol=1e-3), "the other channels were not idle"
    assert torch.allclose(x, zeroed(images), atol=1e-5)


def test_parameters_fall_on_both_sides_as_computed_by_hand() -> None:
    model = random_model()
    after = pruned(model, ("conv1_0",), ("conv1_1",), torch.tensor([0, 2, 5]))
    # 3x3 weights for each pair of channels, scale and offset for each that comes out
    assert parameters(model.layers["conv1_0"]) == 9 * 6 * 6 + 2 * 6
    assert parameters(after["conv1_0"]) == 9 * 6 * 3 + 2 * 3
    assert parameters(after["conv1_1"]) == 9 * 3 * 6 + 2 * 6
    head = pruned(model, ("conv3_1",), ("head",), torch.arange(5))["head"]
    assert parameters(head) == 5 * 10 + 10


@pytest.mark.parametrize("kept", [None, torch.tensor([1, 4])])
@pytest.mark.parametrize("weights", [1.0, 0.3])
def test_pruning_leaves_the_layers_it_is_given_as_they_are(
    kept: Tensor | None, weights: float
) -> None:
    model = random_model()
    before = frozen_sha256(model.state_dict())
    layers = dict(model.layers.items())
    after = Pruning("encoder", ("conv1_0",), kept, weights).applied(layers)
    assert frozen_sha256(model.state_dict()) == before
    assert list(after) == list(layers)
    changed = {name for name in layers if after[name] is not layers[name]}
    assert changed == ({"conv1_0"} if kept is not None or weights < 1 else set())


@pytest.mark.parametrize(
    ("spec", "layer"),
    [
        (RESNET, "block1_0"),
        (VIT, "block0"),
        (VGG.model_copy(update={"downsample": "pool"}), "pool2"),
    ],
)
def test_layers_that_carry_other_layers_channels_have_no_slice(spec: ModelSpec, layer: str) -> None:
    model = random_model(spec)
    for side in ("encoder", "decoder"):
        assert sliced_layer({layer: model.layers[layer]}, side) is None
        with pytest.raises(BadModelError, match=f"no fringe layer of {layer} can be sliced"):
            Pruning(side, (layer,), torch.tensor([0])).applied(dict(model.layers.items()))
    for how in (with_outputs, with_inputs):
        with pytest.raises(BadModelError, match="has no slice"):
            how(model.layers[layer], torch.tensor([0]))


@pytest.mark.parametrize("layer", ["block1_0", "head"])
@pytest.mark.parametrize("share", [0.75, 0.5, 0.1])
def test_the_largest_weights_stay_as_torchs_own_pruning_says(layer: str, share: float) -> None:
    model = random_model(RESNET)
    ours = with_weights(model.layers[layer], share)
    theirs = copy.deepcopy(model.layers[layer]).requires_grad_(True)
    for module in theirs.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            size = module.weight.numel()
            prune.l1_unstructured(module, "weight", amount=size - round(share * size))
            prune.remove(module, "weight")
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in ours.state_dict().items())


@given(
    values=st.lists(st.integers(-3, 3).map(float), min_size=4, max_size=24),
    more=st.floats(0.05, 1),
    less=st.floats(0.05, 1),
)
def test_fewer_weights_are_a_subset_of_more(values: list[float], more: float, less: float) -> None:
    """Whatever ties there are; that is what makes a step down a matter of zeros alone."""
    layer = nn.Linear(len(values), 1)
    layer.weight.data[:] = torch.tensor(values)
    more, less = max(more, less), min(more, less)
    wide, narrow = (with_weights(layer, share).weight for share in (more, less))
    assert torch.equal(narrow, torch.where(narrow != 0, wide, 0))
    assert narrow.count_nonzero() <= max(1, round(less * len(values)))
    dropped = layer.weight[wide == 0].abs()
    assert not len(dropped) or dropped.max() <= wide.abs().max()
    assert torch.equal(with_weights(layer, more).bias, layer.bias)
