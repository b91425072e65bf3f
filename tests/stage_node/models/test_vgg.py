"""VGG-type chains: every convolution is a layer, and no skip connection ties them together."""

import pytest
import torch
from torch import nn

from stage_node.errors import BadModelError
from stage_node.models import ModelSpec, build_model

SMALL = ModelSpec(
    family="vgg", depth=8, width=4, classes=10, in_channels=1, image_size=8, downsample="max"
)
POOLED = SMALL.model_copy(update={"downsample": "pool"})


def oracle(width: int, per_inner_block: int, classes: int) -> nn.Sequential:
    """The same network with max pooling, written down with torch's own parts."""
    layers: list[nn.Module] = []
    channels = 1
    for position, count in enumerate((1 + per_inner_block, per_inner_block, per_inner_block)):
        if position:
            layers.append(nn.MaxPool2d(2))
        for _ in range(count):
            layers += [
                nn.Conv2d(channels, width * 2**position, 3, padding=1, bias=False),
                nn.BatchNorm2d(width * 2**position),
                nn.ReLU(),
            ]
            channels = width * 2**position
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
    )


def test_it_is_the_sequence_of_convolutions_that_it_says_it_is():
    model = build_model(SMALL).eval()
    twin = oracle(width=4, per_inner_block=2, classes=10).eval()
    for own, other in zip(model.parameters(), twin.parameters(), strict=True):
        nn.init.uniform_(own, 0.1, 0.5)
        other.data.copy_(own)
    images = torch.randn(3, 1, 8, 8)
    assert torch.allclose(model(images), twin(images), rtol=1e-5)


def test_the_chain_names_every_convolution():
    assert build_model(SMALL).layer_names == (
        "stem", "conv1_0", "conv1_1", "pool2", "conv2_0", "conv2_1",
        "pool3", "conv3_0", "conv3_1", "head",
    )  # fmt: skip


def test_a_convolution_on_cifar_costs_what_arithmetic_says():
    spec = ModelSpec(
        family="vgg", depth=11, width=64, classes=10, in_channels=3, image_size=32, downsample="max"
    )
    macs = build_model(spec).macs()
    assert macs["stem"] == 32 * 32 * 3 * 64 * 9
    assert macs["conv2_0"] == 16 * 16 * 64 * 128 * 9
    assert macs["conv3_2"] == 8 * 8 * 256 * 256 * 9
    assert macs["pool3"] == 0
    assert macs["head"] == 256 * 10


@pytest.mark.parametrize("spec", [SMALL, POOLED])
@pytest.mark.parametrize("image_size", [8, 9, 32])
def test_running_the_segments_one_after_the_other_is_running_the_model(spec, image_size):
    model = build_model(spec.model_copy(update={"image_size": image_size})).eval()
    images = torch.randn(2, 1, image_size, image_size)
    for cut in range(1, len(model.layer_names)):
        front = model.segment(model.layer_names[:cut])
        back = model.segment(model.layer_names[cut:])
        assert torch.equal(back(front(images)), model(images))


def test_with_pool_every_convolution_keeps_the_shape_and_can_be_left_out():
    model = build_model(POOLED)
    assert model.smallest_configuration == (0, 0, 0)
    assert model.subset((1, 0, 2)) == (
        "stem", "conv1_0", "pool2", "pool3", "conv3_0", "conv3_1", "head",
    )  # fmt: skip
    assert model.configured((0, 0, 0))(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    assert not list(model.layers["pool2"].parameters())


def test_with_max_the_convolutions_that_widen_cannot_be_left_out():
    model = build_model(SMALL)
    assert model.smallest_configuration == (0, 1, 1)
    assert model.configured((0, 1, 1))(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    with pytest.raises(BadModelError, match="conv2_0"):
        model.subset((2, 0, 2))


@pytest.mark.parametrize(
    ("changed", "complaint"), [({"depth": 9}, "3n"), ({"downsample": "option-a"}, "max or pool")]
)
def test_nonsense_is_refused_by_name(changed, complaint):
    with pytest.raises(BadModelError, match=complaint):
        build_model(SMALL.model_copy(update=changed))
