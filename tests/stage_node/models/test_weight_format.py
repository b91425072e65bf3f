"""Weights in fewer bits, pruned or not: files that any reader opens, errors that are bounded."""

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given
from hypothesis import strategies as st

from stage_node.accordion.prefix import PrefixReader
from stage_node.accordion.prefix_writer import write_prefix_checkpoint
from stage_node.errors import BadModelError
from stage_node.models import ModelSpec, build_model, load_checkpoint
from stage_node.models.weight_format import FULL, WeightFormat

SPEC = ModelSpec(depth=8, width=4, classes=3, in_channels=1, image_size=8, downsample="pool")
LADDER = ((1, 0, 0), (1, 1, 0), (1, 1, 1))
FORMATS = [
    WeightFormat(bits=bits, keep=keep) for bits in (32, 16, 8, 4) for keep in (1.0, 0.25)
]  # fmt: skip
BY_NAME = pytest.mark.parametrize("weights", FORMATS, ids=lambda weights: weights.name)


def seeded_model():
    torch.manual_seed(3)
    return build_model(SPEC).eval()


def conv(seed, shape=(6, 3, 3, 3)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def restored(weights, tensor):
    return weights.decode(weights.encode(tensor), tuple(tensor.shape))


def test_a_format_names_itself():
    assert [weights.name for weights in FORMATS] == [
        "fp32", "fp32-keep25", "fp16", "fp16-keep25", "int8", "int8-keep25", "int4", "int4-keep25",
    ]  # fmt: skip


@given(seed=st.integers(0, 2**32), bits=st.sampled_from([8, 4]), out=st.integers(1, 7))
def test_a_whole_number_is_off_by_half_a_step_of_its_channel_at_most(seed, bits, out):
    weight = conv(seed, (out, 5)) * torch.logspace(-3, 3, out)[:, None]
    step = weight.abs().amax(1) / (127 if bits == 8 else 7)
    error = (restored(WeightFormat(bits=bits), weight) - weight).abs()
    assert (error <= step[:, None] * 0.5001).all()


def test_halves_are_what_numpy_makes_of_them():
    weight = conv(0)
    expected = weight.numpy().astype(np.float16).astype(np.float32)
    assert np.array_equal(restored(WeightFormat(bits=16), weight).numpy(), expected)


@given(seed=st.integers(0, 2**32), keep=st.floats(0.01, 1))
def test_pruning_keeps_the_largest_and_they_are_exact(seed, keep):
    weight = conv(seed)
    back = restored(WeightFormat(keep=keep), weight)
    kept = back != 0
    assert kept.sum() == (max(1, round(keep * weight.numel())))
    assert torch.equal(back[kept], weight[kept])
    if not kept.all():
        assert weight[~kept].abs().max() <= weight[kept].abs().min()


def test_a_channel_of_zeros_stays_zero():
    assert not restored(WeightFormat(bits=8), torch.zeros(2, 3)).any()


@BY_NAME
def test_the_file_is_plain_safetensors_and_as_small_as_it_says(weights, tmp_path):
    path = tmp_path / "m.safetensors"
    model = seeded_model()
    write_prefix_checkpoint(path, model, LADDER, weights=weights)
    tensors = safetensors.numpy.load_file(path)
    many = sum(t.numel() for t in model.state_dict().values() if t.dim() > 1)
    kept = sum(round(weights.keep * t.numel()) for t in model.state_dict().values() if t.dim() > 1)
    rest = sum(t.numel() for t in model.state_dict().values() if t.dim() < 2)
    channels = sum(len(t) for t in model.state_dict().values() if t.dim() > 1)
    size = sum(tensor.nbytes for tensor in tensors.values())
    scales = 4 * channels if weights.bits < 16 else 0
    bitmap = many / 8 if weights.keep < 1 else 0
    expected = 4 * rest + kept * weights.bits / 8 + scales + bitmap
    assert expected <= size <= expected + 2 * len(tensors)


@BY_NAME
def test_every_prefix_runs_as_the_whole_file_does(weights, tmp_path):
    path = tmp_path / "m.safetensors"
    write_prefix_checkpoint(path, seeded_model(), LADDER, weights=weights)
    content = path.read_bytes()
    whole, reader = load_checkpoint(path), PrefixReader()
    assert reader.feed(content) == LADDER
    x = torch.randn(2, 1, 8, 8)
    for configuration in LADDER:
        end = reader.require_header().configurations[configuration]
        short = PrefixReader()
        assert short.feed(content[:end])[-1] == configuration
        expected = whole.configured(configuration)(x)
        assert torch.allclose(short.load(configuration)(x), expected, atol=1e-6)


def test_int8_by_hand(tmp_path):
    """The file read by numpy alone gives the weights that the reader runs."""
    path = tmp_path / "m.safetensors"
    write_prefix_checkpoint(path, seeded_model(), LADDER, weights=WeightFormat(bits=8))
    tensors = safetensors.numpy.load_file(path)
    key = "layers.block2_0.conv1.weight"
    assert tensors[key].dtype == np.int8
    by_hand = tensors[key].astype(np.float32) * tensors[key + ".scale"][:, None, None, None]
    assert np.array_equal(load_checkpoint(path).state_dict()[key].numpy(), by_hand)


def test_what_does_not_fit_is_refused():
    pruned = WeightFormat(bits=8, keep=0.5)
    stored = pruned.encode(conv(1))
    for suffix in (".scale", ".kept", ""):
        short = {**stored, suffix: stored[suffix][:-1]}
        with pytest.raises(BadModelError, match="do not fit"):
            pruned.decode(short, (6, 3, 3, 3))
    with pytest.raises(BadModelError, match="do not fit"):
        pruned.decode({"": stored[""]}, (6, 3, 3, 3))
    with pytest.raises(BadModelError, match="no tensor nonsense"):
        FULL.decode_all(seeded_model(), {"nonsense": {"": conv(1)}})
