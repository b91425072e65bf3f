"""The options of many TCP headers at once: timestamps, window scale, selective acknowledgements.

RFC 9293 (kinds 0 and 1, lengths), RFC 7323 (window scale, timestamps), RFC 2018 (SACK).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.capture.frames import Int64s

NO_SCALE = -1

_END, _NOTHING, _SCALE, _SACK, _TIMESTAMPS = 0, 1, 3, 5, 8
_LINUX = 0x0101080A  # two fillers, then timestamps: how nearly every segment's options begin
_LINUX_BYTES = 12
_MAX_BLOCKS = 4  # as many as the 40 bytes of options can hold


@dataclass(frozen=True)
class TcpOptions:
    """One value per segment; where a segment has an option twice, the last counts.

    ``window_scale`` is ``NO_SCALE`` without the option. ``sack`` lists the edges of the blocks
    (left, right, left, ...), null without the option.
    """

    has_timestamps: npt.NDArray[np.bool_]
    tsval: npt.NDArray[np.uint32]
    tsecr: npt.NDArray[np.uint32]
    window_scale: npt.NDArray[np.int8]
    sack: pl.Series


def parse_options(buffer: bytearray, begin: Int64s, end: Int64s) -> TcpOptions:
    """Options of headers whose option bytes lie from ``begin`` to ``end`` (exclusive).

    Only what was captured whole counts; a length without sense ends a segment's options.
    """
    octets = np.frombuffer(buffer, np.uint8)
    words = _words(buffer)
    count = len(begin)
    timestamps_at = np.zeros(count, np.int64)
    sack_at = np.zeros(count, np.int64)
    sack_bytes = np.zeros(count, np.int64)
    scale = np.full(count, NO_SCALE, np.int8)

    usual = (begin + _LINUX_BYTES <= end) & (words[np.where(begin < end, begin, 0)] == _LINUX)
    timestamps_at[usual] = begin[usual] + 2
    position = begin + np.where(usual, _LINUX_BYTES, 0)
    left = np.flatnonzero(position < end)
    while len(left):
        at, stop = position[left], end[left]
        kind = octets[at]
        is_long = kind > _NOTHING
        size = np.where(is_long, octets[at + 1], 1).astype(np.int64)
        is_sound = (kind != _END) & (~is_long | (size >= 2)) & (at + size <= stop)
        found = is_sound & (kind == _TIMESTAMPS) & (size == 10)
        timestamps_at[left[found]] = at[found]
        found = is_sound & (kind == _SCALE) & (size == 3)
        scale[left[found]] = octets[at[found] + 2].astype(np.int8)
        found = is_sound & (kind == _SACK) & (size > 2) & (size % 8 == 2)
        sack_at[left[found]], sack_bytes[left[found]] = at[found] + 2, size[found] - 2
        position[left] = at + size
        left = left[is_sound & (position[left] < stop)]

    has_timestamps = timestamps_at > 0
    return TcpOptions(
        has_timestamps=has_timestamps,
        tsval=words[timestamps_at + 2] * has_timestamps,
        tsecr=words[timestamps_at + 6] * has_timestamps,
        window_scale=scale,
        sack=_sack(words, sack_at, sack_bytes),
    )


def _words(buffer: bytearray) -> npt.NDArray[np.uint32]:
    """The big-endian 32-bit number at every offset of the buffer."""
    return np.ndarray(len(buffer) - 3, dtype=">u4", buffer=buffer, strides=(1,))


def _sack(words: npt.NDArray[np.uint32], at: Int64s, size: Int64s) -> pl.Series:
    """Lists of edges for the few segments that have any."""
    dtype = pl.List(pl.UInt32)
    nothing = pl.Series("sack", [None], dtype=dtype)
    place = np.zeros(len(at), np.int64)
    lists, listed = [nothing], 1
    for blocks in range(1, _MAX_BLOCKS + 1):
        segments = np.flatnonzero(size == 8 * blocks)
        if len(segments):
            edges = words[at[segments, None] + 4 * np.arange(2 * blocks)].astype(np.uint32)
            lists.append(pl.Series("sack", edges).cast(dtype))
            place[segments] = listed + np.arange(len(segments))
            listed += len(segments)
    return pl.concat(lists).gather(place)
