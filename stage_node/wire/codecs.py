"""Codecs turn an activation into the bytes of a payload and back.

A codec composes three independent choices: which elements are sent (all, or a share of largest
magnitude with their positions), how many bits each takes (32, or whole numbers of 8, 6, 4 or 2
bits over calibrated ranges), and whether the result is coded losslessly (zstd, RFC 8878). It is
known by its name in contracts and by its number on the wire. Ranges and the share kept are no
matter of the format: both ends have them from the generation of the frame.

Whatever the payload, decoding allocates no more than the activation takes: all sizes are known
before, and a zstd frame must announce exactly what is expected of it.
"""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import zstandard
from torch import Tensor

from stage_node.errors import WireError
from stage_node.wire.packing import (
    pack,
    pack_positions,
    packed_bytes,
    position_bytes,
    unpack,
    unpack_positions,
)
from stage_node.wire.rung import Bits, Rung

ZSTD_LEVEL = 3
_BITS: tuple[Bits, ...] = (32, 8, 6, 4, 2)  # wire number: position + 1
_SPARSE, _ZSTD = 8, 16


@dataclass(frozen=True)
class Codec:
    """One way to write an activation (N, C, ...)."""

    bits: Bits = 32
    sparse: bool = False
    zstd: bool = False

    @staticmethod
    def of(rung: Rung) -> "Codec":
        """The codec that a rung needs."""
        return Codec(rung.bits, rung.keep < 1, rung.zstd)

    @staticmethod
    def named(name: str) -> "Codec":
        """The codec of a contract; ``WireError`` where there is none of that name."""
        try:
            return _BY_NAME[name]
        except KeyError:
            raise WireError(f"unknown codec {name!r}") from None

    @staticmethod
    def numbered(number: int) -> "Codec":
        """The codec of a frame; ``WireError`` where there is none of that number."""
        try:
            return _BY_NUMBER[number]
        except KeyError:
            raise WireError(f"unknown codec number {number}") from None

    @staticmethod
    def all() -> Iterable["Codec"]:
        """Every codec there is."""
        return _BY_NAME.values()

    @cached_property
    def name(self) -> str:
        """As in ``sparse+int4+zstd``."""
        element = "fp32" if self.bits == 32 else f"int{self.bits}"
        return "+".join(["sparse"] * self.sparse + [element] + ["zstd"] * self.zstd)

    @cached_property
    def number(self) -> int:
        """The one byte of it in the frame's header."""
        return _BITS.index(self.bits) + 1 + _SPARSE * self.sparse + _ZSTD * self.zstd

    def max_payload_bytes(self, shape: tuple[int, ...]) -> int:
        """The largest payload that an activation of this shape can have, whatever is kept."""
        samples, elements = shape[0], math.prod(shape[1:])
        size = packed_bytes(samples * elements, self.bits)
        if self.sparse:
            size += samples * packed_bytes(elements, 1)
        return zstandard_bound(size) if self.zstd else size


_BY_NAME = {
    codec.name: codec
    for codec in itertools.starmap(Codec, itertools.product(_BITS, (False, True), (False, True)))
}
_BY_NUMBER = {codec.number: codec for codec in _BY_NAME.values()}
ALL_CODECS = tuple(_BY_NAME)


def zstandard_bound(size: int) -> int:
    """Largest output of zstd for ``size`` bytes: ``ZSTD_COMPRESSBOUND`` of zstd.h."""
    return size + (size >> 8) + ((128 * 1024 - size) >> 11 if size < 128 * 1024 else 0)


@dataclass(frozen=True, eq=False)
class Ranges:
    """Levels of the quantiser: ``low`` and ``high`` (C,), one pair per channel."""

    low: Tensor
    high: Tensor

    def quantised(self, x: Tensor, bits: int) -> Tensor:
        """Levels 0 .. 2^bits - 1 (uint8) of ``x`` (N, C, ...); what lies outside is cut off."""
        low, step = self._by_pixel(x, bits)
        place: Tensor = (x - low) / step
        return place.round_().clamp_(0, 2**bits - 1).to(torch.uint8)

    def restored(self, levels: Tensor, bits: int) -> Tensor:
        """The values of levels (N, C, ...)."""
        low, step = self._by_pixel(levels, bits)
        return levels.float() * step + low

    def steps(self, bits: int) -> Tensor:
        """Distance (C,) between neighbouring levels; inside the range an error is at most half."""
        step: Tensor = (self.high - self.low) / (2**bits - 1)
        return step.clamp_min(torch.finfo(torch.float32).tiny)

    def _by_pixel(self, x: Tensor, bits: int) -> tuple[Tensor, Tensor]:
        shape = (1, -1, *(1,) * (x.ndim - 2))
        return self.low.view(shape), self.steps(bits).view(shape)


@dataclass(frozen=True, eq=False)
class Coding:
    """Coding of one generation's activations over one cut: a codec with all that it needs.

    ``shape`` is that of one image's coded activation, ``keep`` the share of its elements that are
    sent. ``ranges`` is there where the codec quantises.
    """

    codec: Codec
    shape: tuple[int, ...]
    keep: float = 1.0
    ranges: Ranges | None = None

    @cached_property
    def elements(self) -> int:
        """Numbers of one image."""
        return math.prod(self.shape)

    @cached_property
    def kept(self) -> int:
        """Elements of one image that are sent."""
        return max(1, round(self.keep * self.elements)) if self.codec.sparse else self.elements

    def packed_bytes(self, samples: int) -> int:
        """Size of the payload before zstd."""
        values = packed_bytes(samples * self.kept, self.codec.bits)
        if not self.codec.sparse:
            return values
        return samples * position_bytes(self.elements, self.kept) + values

    def encode(self, x: Tensor) -> memoryview:
        """The payload of a float32 activation (N, *shape); it may share the tensor's memory."""
        packed = self._packed(x.contiguous())
        if not self.codec.zstd:
            return packed
        return memoryview(zstandard.ZstdCompressor(ZSTD_LEVEL).compress(packed))

    def decode(self, payload: memoryview, shape: tuple[int, ...]) -> Tensor:
        """The float32 activation of a payload; it may share the payload's memory.

        ``WireError`` when ``shape`` is not this coding's, or the payload not one of it.
        """
        if shape[1:] != self.shape or not shape[0]:
            raise WireError(f"activation of shape {shape} where (N, {self.shape}) is due")
        size = self.packed_bytes(shape[0])
        if self.codec.zstd:
            payload = _decompressed(payload, size)
        if len(payload) != size:
            raise WireError(
                f"{len(payload)} bytes are no {self.codec.name} activation of shape {shape}: "
                f"that has {size}"
            )
        try:
            return self._unpacked(payload, shape)
        except ValueError as error:
            raise WireError(f"malformed {self.codec.name} payload: {error}") from None

    def _packed(self, x: Tensor) -> memoryview:
        bits = self.codec.bits
        levels = x if self.ranges is None else self.ranges.quantised(x, bits)
        if not self.codec.sparse:
            return _values(levels, bits)
        flat = x.flatten(1).abs()
        positions = flat.topk(self.kept, sorted=False).indices.sort().values
        where = pack_positions(positions.numpy(), self.elements)
        values = _values(levels.flatten(1).gather(1, positions), bits)
        return memoryview(where.tobytes() + bytes(values))

    def _unpacked(self, payload: memoryview, shape: tuple[int, ...]) -> Tensor:
        samples, bits = shape[0], self.codec.bits
        if not self.codec.sparse:
            values = _from_values(payload, bits, samples * self.elements).view(shape)
            return values if self.ranges is None else self.ranges.restored(values, bits)
        split = samples * position_bytes(self.elements, self.kept)
        where = np.frombuffer(payload[:split], np.uint8).reshape(samples, -1)
        positions = torch.from_numpy(unpack_positions(where, self.elements, self.kept))
        values = _from_values(payload[split:], bits, samples * self.kept).view(samples, -1)
        if self.ranges is not None:
            values = self._restored_at(positions, values)
        return torch.zeros(samples, self.elements).scatter_(1, positions, values).view(shape)

    def _restored_at(self, positions: Tensor, levels: Tensor) -> Tensor:
        assert self.ranges is not None
        channel = positions // math.prod(self.shape[1:])
        step = self.ranges.steps(self.codec.bits)
        return levels.float() * step[channel] + self.ranges.low[channel]


def plain(shape: tuple[int, ...]) -> Coding:
    """Every element of an activation as it is."""
    return Coding(Codec(), shape)


def _values(values: Tensor, bits: int) -> memoryview:
    array = values.contiguous().numpy()
    return array.data.cast("B") if bits == 32 else pack(array, bits).data


def _from_values(payload: memoryview, bits: int, count: int) -> Tensor:
    if bits == 32:
        return torch.frombuffer(payload, dtype=torch.float32)
    return torch.from_numpy(unpack(np.frombuffer(payload, np.uint8), bits, count))


def _decompressed(payload: memoryview, size: int) -> memoryview:
    """Exactly ``size`` bytes out of one zstd frame that says so; nothing else is allocated."""
    try:
        announced = zstandard.frame_content_size(payload)
        if announced != size:
            raise WireError(f"a zstd frame of {announced} bytes where {size} are due")
        decompressor = zstandard.ZstdDecompressor()
        return memoryview(bytearray(decompressor.decompress(payload, allow_extra_data=False)))
    except zstandard.ZstdError as error:
        raise WireError(f"malformed zstd payload: {error}") from None
