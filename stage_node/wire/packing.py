"""Whole numbers of a few bits, packed without gaps; positions of kept elements, coded short.

Everything here is pure and vectorised. The order of the bits is most significant first, as a
person would write the numbers one behind the other.
"""

import math

import numpy as np
import numpy.typing as npt

WORD_BITS = 64
INDEX_BITS = (1, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32)
"""Widths of an index: those that fill a whole number of bytes fits a 64-bit word."""

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.unsignedinteger]


def packed_bytes(count: int, bits: int) -> int:
    """Bytes that ``count`` numbers of ``bits`` bits take."""
    return (count * bits + 7) // 8


def pack(numbers: Numbers, bits: int) -> Bytes:
    """Numbers below 2^bits (any shape, row-major) as bytes; the last byte is filled with zeros.

    As many numbers as make whole bytes are gathered in a 64-bit word, whose upper bytes are cut
    off: a handful of passes over the data, whatever the width.
    """
    flat = numbers.reshape(-1)
    if bits == 8:
        return flat.astype(np.uint8)
    group, group_bytes = _group(bits)
    rows = -(-flat.size // group)
    padded = np.zeros(rows * group, np.uint64)
    padded[: flat.size] = flat
    words = np.zeros(rows, np.uint64)
    for column in padded.reshape(rows, group).T:
        words = (words << np.uint64(bits)) | column
    spread = words.astype(">u8").view(np.uint8).reshape(rows, 8)[:, 8 - group_bytes :]
    return np.ascontiguousarray(spread).reshape(-1)[: packed_bytes(flat.size, bits)]


def unpack(data: Bytes, bits: int, count: int) -> Numbers:
    """The ``count`` numbers that ``pack`` made ``data`` of: (count,), uint8 up to 8 bits, else
    uint32. ``ValueError`` where ``data`` has not exactly their size."""
    if data.size != packed_bytes(count, bits):
        raise ValueError(f"{data.size} bytes are not {count} numbers of {bits} bits")
    if bits == 8:
        return data
    group, group_bytes = _group(bits)
    rows = -(-count // group)
    padded = np.zeros(rows * group_bytes, np.uint8)
    padded[: data.size] = data
    words = np.zeros(rows, np.uint64)
    for byte in padded.reshape(rows, group_bytes).T:
        words = (words << np.uint64(8)) | byte
    numbers = np.empty((rows, group), np.uint8 if bits <= 8 else np.uint32)
    mask = np.uint64(2**bits - 1)
    for column in range(group):
        numbers[:, column] = (words >> np.uint64(bits * (group - 1 - column))) & mask
    return numbers.reshape(-1)[:count]


def index_bits(elements: int) -> int:
    """Bits of a position among ``elements``."""
    return next(bits for bits in INDEX_BITS if 2**bits >= elements)


def position_bytes(elements: int, kept: int) -> int:
    """Bytes that say which ``kept`` of ``elements`` are there: a bitmap or a list, the shorter."""
    return min(packed_bytes(elements, 1), packed_bytes(kept, index_bits(elements)))


def pack_positions(positions: npt.NDArray[np.int64], elements: int) -> Bytes:
    """Ascending positions (rows, kept) among ``elements`` each: (rows, position_bytes)."""
    rows, kept = positions.shape
    if packed_bytes(elements, 1) <= packed_bytes(kept, index_bits(elements)):
        bitmap = np.zeros((rows, elements), np.bool_)
        np.put_along_axis(bitmap, positions, True, axis=1)
        return np.packbits(bitmap, axis=1)
    bits = index_bits(elements)
    return np.stack([pack(row.astype(np.uint32), bits) for row in positions])


def unpack_positions(data: Bytes, elements: int, kept: int) -> npt.NDArray[np.int64]:
    """The positions (rows, kept) of ``pack_positions``'s output.

    ``ValueError`` unless every row names ``kept`` different positions in ascending order.
    """
    rows, size = data.shape
    if size != position_bytes(elements, kept):
        raise ValueError(f"{size} bytes do not say which {kept} of {elements} elements were kept")
    if packed_bytes(elements, 1) <= packed_bytes(kept, index_bits(elements)):
        bitmap = np.unpackbits(data, axis=1)
        if bitmap[:, elements:].any() or (bitmap.sum(axis=1) != kept).any():
            raise ValueError(f"a bitmap that does not have {kept} of {elements} bits set")
        return np.nonzero(bitmap)[1].reshape(rows, kept).astype(np.int64)
    bits = index_bits(elements)
    positions = np.stack([unpack(row, bits, kept) for row in data]).astype(np.int64)
    if (np.diff(positions, axis=1) <= 0).any() or (positions >= elements).any():
        raise ValueError(f"positions that are not ascending below {elements}")
    return positions


def _group(bits: int) -> tuple[int, int]:
    """Count of numbers that make whole bytes, and these bytes."""
    group = 8 // math.gcd(bits, 8)
    if bits < 1 or group * bits > WORD_BITS:
        raise ValueError(f"cannot pack numbers of {bits} bits")
    return group, group * bits // 8
