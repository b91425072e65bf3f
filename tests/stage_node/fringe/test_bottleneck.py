"""A bottleneck takes the bytes it was given, and both of its halves agree on the codes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stage_node.errors import BadModelError
from stage_node.fringe.bottleneck import (
    HIDDEN,
    Bottleneck,
    BottleneckSpec,
    choose_bottleneck,
    load_bottleneck,
    save_bottleneck,
)

SHAPE = (32, 16, 16)


def spec(**changes):
    return BottleneckSpec(**{"in_shape": SHAPE, "stride": 2, "channels": 5, "bits": 2} | changes)


@given(st.floats(64, 8192), st.sampled_from([(32, 16, 16), (16, 32, 32), (64, 8, 8), (8, 7, 7)]))
def test_a_chosen_bottleneck_leaves_less_than_one_channel_of_the_budget_over(budget, shape):
    chosen = choose_bottleneck(budget, shape)
    one_channel = chosen.code_shape[1] * chosen.code_shape[2] * chosen.bits / 8
    assert chosen.size_bytes <= budget
    if chosen.channels < HIDDEN:
        assert budget - one_channel - 1 < chosen.size_bytes
    assert Bottleneck(chosen).eval()(torch.zeros(1, *shape)).shape == (1, *shape)


@pytest.mark.parametrize(("budget", "channels"), [(128, 8), (192, 12), (256, 16)])
def test_small_budgets_halve_the_resolution(budget, channels):
    chosen = choose_bottleneck(budget, SHAPE)
    assert (chosen.stride, chosen.channels, chosen.size_bytes) == (2, channels, budget)


@pytest.mark.parametrize(
    ("budget", "channels", "bits"),
    [(4000, 62, 2), (5000, 64, 2), (8192, 64, 4), (13_000, 64, 6), (20_000, 64, 8), (1e6, 64, 8)],
)
def test_what_is_left_of_a_large_budget_goes_into_bits(budget, channels, bits):
    chosen = choose_bottleneck(budget, SHAPE)
    assert (chosen.stride, chosen.channels, chosen.bits) == (1, channels, bits)


def test_a_budget_below_one_code_per_position_is_refused_with_the_least_that_works():
    with pytest.raises(BadModelError, match="the smallest bottleneck takes 16"):
        choose_bottleneck(15, SHAPE)
    assert choose_bottleneck(16, SHAPE).channels == 1


@pytest.mark.parametrize(
    "wrong", [{"in_shape": (32, 15, 16)}, {"hidden": 0}, {"bits": 3}, {"in_shape": (0, 2, 2)}]
)
def test_a_specification_that_cannot_be_built_is_refused(wrong):
    with pytest.raises(ValidationError):
        spec(**wrong)


@pytest.mark.parametrize(("stride", "hidden"), [(2, 64), (1, 64), (1, 0)])
def test_codes_are_the_few_values_that_their_bits_can_say(stride, hidden):
    module = Bottleneck(spec(stride=stride, hidden=hidden)).eval()
    codes = module.encoder(10 * torch.randn(4, *SHAPE))
    assert codes.shape[1:] == module.spec.code_shape
    quantised = module.spec.quantised(codes)
    assert set((quantised.unique() * 3).tolist()) <= {0, 1, 2, 3}
    assert (quantised - codes).abs().max() <= 1 / 6 + 1e-6


def test_what_is_trained_is_what_crosses_the_wire_and_gradients_pass_the_quantiser():
    module = Bottleneck(spec()).eval()
    x = torch.randn(2, *SHAPE)
    through = module(x)
    assert torch.allclose(through, module.decoder(module.spec.quantised(module.encoder(x))))
    through.square().sum().backward()
    assert module.encoder.block.conv1.weight.grad.abs().sum() > 0


def test_a_file_brings_back_the_same_function_and_the_tuned_layers(tmp_path):
    module = Bottleneck(spec()).eval()
    layers = {"layers.block3_0.conv1.weight": torch.randn(3, 3)}
    save_bottleneck(tmp_path / "b.safetensors", module, layers, {"after": "block2_8"})
    loaded = load_bottleneck(tmp_path / "b.safetensors")
    x = torch.randn(2, *SHAPE)
    assert torch.equal(loaded.encoder(x), module.encoder(x))
    codes = module.spec.quantised(module.encoder(x))
    assert torch.equal(loaded.decoder(codes), module.decoder(codes))
    assert loaded.layers.keys() == layers.keys()
    assert loaded.spec == module.spec


def test_files_that_are_no_bottleneck_are_refused(tmp_path):
    path = tmp_path / "b.safetensors"
    with pytest.raises(BadModelError, match="no such"):
        load_bottleneck(path)
    path.write_bytes(b"nothing")
    with pytest.raises(BadModelError, match="not a safetensors file"):
        load_bottleneck(path)
    module = Bottleneck(spec())
    module.encoder.project = torch.nn.Conv2d(64, 4, 1)
    save_bottleneck(path, module, {})
    with pytest.raises(BadModelError, match=r"encoder\.project"):
        load_bottleneck(path)


def test_a_linear_code_that_left_the_range_can_come_back():
    spec = BottleneckSpec(in_shape=(2, 4, 4), channels=1, bits=8, hidden=0)
    encoder = Bottleneck(spec).encoder
    with torch.no_grad():
        encoder.project.bias.fill_(5.0)
    codes = encoder.eval()(torch.zeros(1, 2, 4, 4))
    assert (codes == 1).all()
    encoder.train()(torch.zeros(1, 2, 4, 4)).sum().backward()
    assert encoder.project.bias.grad.item() == 16
