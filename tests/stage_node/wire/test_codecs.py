"""Activations through every codec: what is lost is bounded, and no payload can do harm."""

import math
import tracemalloc

import pytest
import torch
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stage_node.errors import WireError
from stage_node.wire.codecs import ALL_CODECS, Codec, Coding, Ranges, plain
from stage_node.wire.contract import ActivationContract
from stage_node.wire.frame import DType, FrameKind, Header
from stage_node.wire.rung import Rung

SHAPE = (6, 5, 4)


def activation(seed: int = 0, samples: int = 3, shape: tuple[int, ...] = SHAPE) -> Tensor:
    """Channels of very different sizes."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.logspace(1, -2, shape[0]).view(1, -1, 1, 1)
    return torch.randn(samples, *shape, generator=generator) * scale


def ranges_of(x: Tensor) -> Ranges:
    by_channel = x.movedim(1, 0).flatten(1)
    return Ranges(by_channel.amin(1), by_channel.amax(1))


def coding(name: str, x: Tensor, keep: float = 0.25) -> Coding:
    codec = Codec.named(name)
    ranges = ranges_of(x) if codec.bits < 32 else None
    return Coding(codec, tuple(x.shape[1:]), keep if codec.sparse else 1.0, ranges)


def round_trip(code: Coding, x: Tensor) -> Tensor:
    payload = code.encode(x)
    return code.decode(memoryview(bytearray(payload)), tuple(x.shape))


def test_every_codec_has_its_own_name_and_number() -> None:
    codecs = [Codec.named(name) for name in ALL_CODECS]
    assert len(codecs) == 20 == len({codec.number for codec in codecs})
    for codec in codecs:
        assert Codec.numbered(codec.number) == codec and 0 < codec.number < 256
    assert Codec.of(Rung()) == Codec.named("fp32")
    assert Codec.of(Rung(bits=4, keep=0.5, zstd=True)).name == "sparse+int4+zstd"


@given(
    name=st.sampled_from(ALL_CODECS),
    samples=st.integers(1, 4),
    keep=st.floats(0.01, 0.99),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)),
)
def test_payloads_have_the_size_that_was_announced_and_decode_to_what_was_chosen(
    name: str, samples: int, keep: float, shape: tuple[int, int, int]
) -> None:
    x = activation(1, samples, shape)
    code = coding(name, x, keep)
    payload = code.encode(x)
    assert len(payload) <= code.codec.max_payload_bytes(tuple(x.shape))
    if not code.codec.zstd:
        assert len(payload) == code.packed_bytes(samples)
    y = code.decode(memoryview(bytearray(payload)), tuple(x.shape))
    assert y.shape == x.shape and y.dtype == torch.float32 and bool(y.isfinite().all())


def test_without_quantising_and_pruning_nothing_is_lost() -> None:
    x = activation()
    for name in ("fp32", "fp32+zstd"):
        assert torch.equal(round_trip(coding(name, x), x), x)


@pytest.mark.parametrize("bits", [8, 6, 4, 2])
def test_inside_the_ranges_an_element_is_off_by_half_a_step_at_most(bits: int) -> None:
    x = activation()
    code = coding(f"int{bits}", x)
    assert code.ranges is not None
    allowed = (code.ranges.high - code.ranges.low) / (2**bits - 1) / 2
    error = (round_trip(code, x) - x).abs().movedim(1, 0).flatten(1).amax(1)
    assert bool((error <= allowed * 1.001 + 1e-6).all())
    assert torch.equal(round_trip(coding(f"int{bits}+zstd", x), x), round_trip(code, x))


def test_outside_the_ranges_values_saturate() -> None:
    x = activation()
    code = Coding(Codec(8), SHAPE, ranges=Ranges(torch.full((6,), -0.5), torch.full((6,), 0.25)))
    y = round_trip(code, x)
    assert torch.allclose(y[x > 0.25], torch.tensor(0.25), atol=1e-6)
    assert torch.allclose(y[x < -0.5], torch.tensor(-0.5), atol=1e-6)


def test_a_channel_that_never_varies_is_restored_to_its_value() -> None:
    x = torch.full((2, 3, 2, 2), 1.5)
    assert torch.allclose(round_trip(coding("int4", x), x), x)


@pytest.mark.parametrize("keep", [0.05, 0.3, 0.9])
def test_pruning_keeps_the_elements_of_largest_magnitude(keep: float) -> None:
    x = activation()
    y = round_trip(coding("sparse+fp32", x, keep), x)
    kept = round(keep * math.prod(SHAPE))
    for image, restored in zip(x.flatten(1), y.flatten(1), strict=True):
        best = image.abs().topk(kept)
        assert torch.equal(restored[best.indices], image[best.indices])
        assert int((restored != 0).sum()) == kept
        lost = (image - restored).square().sum()
        rest = image.abs().double().sort().values[: image.numel() - kept].square().sum()
        assert lost.item() == pytest.approx(rest.item(), rel=1e-6)


@pytest.mark.parametrize("bits", [8, 4])
def test_what_is_kept_and_quantised_is_off_by_half_a_step_and_the_rest_is_zero(bits: int) -> None:
    x = activation()
    kept = round_trip(coding("sparse+fp32", x), x) != 0
    code = coding(f"sparse+int{bits}+zstd", x)
    y = round_trip(code, x)
    assert code.ranges is not None
    allowed = code.ranges.steps(bits).view(1, -1, 1, 1).expand_as(x) / 2
    assert bool(((y - x).abs()[kept] <= allowed[kept] * 1.001 + 1e-6).all())
    assert not y[~kept].any()


def test_fp32_copies_nothing() -> None:
    x = activation()
    payload = plain(SHAPE).encode(x)
    x.fill_(1.0)
    assert torch.equal(plain(SHAPE).decode(payload, tuple(x.shape)), x)


def test_an_activation_that_nobody_agreed_on_is_refused() -> None:
    x = activation()
    code = coding("int4", x)
    payload = memoryview(bytearray(code.encode(x)))
    for shape in ((3, 6, 5, 5), (3, 120), (0, *SHAPE)):
        with pytest.raises(WireError, match=r"where \(N, \(6, 5, 4\)\) is due"):
            code.decode(payload, shape)
    with pytest.raises(WireError, match="bytes are no int4 activation"):
        code.decode(payload[:-1], tuple(x.shape))


@given(name=st.sampled_from(ALL_CODECS), noise=st.binary(max_size=600))
def test_noise_is_refused_or_decodes_to_the_right_shape(name: str, noise: bytes) -> None:
    x = activation()
    code = coding(name, x)
    try:
        y = code.decode(memoryview(bytearray(noise)), tuple(x.shape))
    except WireError:
        return
    assert y.shape == x.shape


@pytest.mark.parametrize("announce", [True, False])
def test_a_zstd_bomb_is_refused_before_it_goes_off(announce: bool) -> None:
    x = activation()
    code = coding("int8+zstd", x)
    compressor = zstandard.ZstdCompressor(19, write_content_size=announce)
    bomb = memoryview(bytearray(compressor.compress(bytes(64 << 20))))
    assert len(bomb) < 10_000
    tracemalloc.start()
    with pytest.raises(WireError, match="where 360 are due"):
        code.decode(bomb, tuple(x.shape))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1 << 20


def test_a_zstd_frame_that_lies_about_its_size_is_refused() -> None:
    x = activation()
    code = coding("int8+zstd", x)
    params = zstandard.ZstdCompressionParameters.from_level(3, window_log=10)
    honest = bytearray(zstandard.ZstdCompressor(compression_params=params).compress(bytes(400)))
    place = honest.index((400 - 256).to_bytes(2, "little"))
    honest[place : place + 2] = (360 - 256).to_bytes(2, "little")
    assert zstandard.frame_content_size(bytes(honest)) == 360
    with pytest.raises(WireError, match="zstd"):
        code.decode(memoryview(honest), tuple(x.shape))


def test_what_follows_a_zstd_frame_is_refused() -> None:
    x = activation()
    code = coding("int8+zstd", x)
    payload = bytearray(code.encode(x)) + b"more"
    with pytest.raises(WireError, match="zstd"):
        code.decode(memoryview(payload), tuple(x.shape))


def test_contracts_bound_the_largest_payload_of_every_codec_they_allow() -> None:
    contract = ActivationContract(cut=0, shape=SHAPE, max_batch=3, codecs=ALL_CODECS)
    x = torch.randn(3, *SHAPE)  # noise: zstd makes it longer
    for name in ALL_CODECS:
        payload = coding(name, x, keep=0.99).encode(x)
        assert len(payload) <= contract.max_payload_bytes
        header = Header(
            kind=FrameKind.ACTIVATION,
            payload_bytes=len(payload),
            codec=Codec.named(name).number,
            dtype=DType.FLOAT32,
            shape=tuple(x.shape),
        )
        contract.check(header)
    assert contract.max_payload_bytes < 1.2 * 4 * 3 * math.prod(SHAPE)
