"""The classic capture format, pcap: frames out of its records.

The record headers of a pcap file form a chain: each length says where the next header lies.
A short loop follows the chain, about five million records a second; everything else is numpy
on many records at once. The file is read in blocks, so memory holds one of them.

Format: draft-ietf-opsawg-pcap (libpcap's savefile format), Ethernet link type, microsecond and
nanosecond magic, either byte order.
"""

import struct
from collections.abc import Generator
from io import FileIO

import numpy as np

from analysis.capture.frames import (
    BLOCK_BYTES,
    MAX_CAPLEN,
    PADDING_BYTES,
    Damage,
    Frames,
    Int64s,
    Interface,
    gather,
)
from analysis.errors import DamagedCaptureError

LINK_TYPE_ETHERNET = 1

_FILE_HEADER_BYTES = 24
_RECORD_HEADER_BYTES = 16

# magic number as it lies in the file -> (byte order, nanoseconds per unit of the fraction)
MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}


def read_pcap(file: FileIO, interfaces: list[Interface]) -> Generator[Frames, None, Damage | None]:
    """Frames of a pcap file, block by block; each must be used before the next is asked for.

    Appends to ``interfaces`` the one that the file is of. Returns the damage met, if any. Raises
    ``DamagedCaptureError`` where there is no file header or another link type than Ethernet.
    """
    header = file.read(_FILE_HEADER_BYTES)
    if len(header) < _FILE_HEADER_BYTES:
        raise DamagedCaptureError(f"{len(header)} bytes are too short for a pcap file")
    order, unit_ns = MAGIC[header[:4]]
    (link_type,) = struct.unpack_from(order + "I", header, 20)
    if link_type & 0xFFFF != LINK_TYPE_ETHERNET:
        raise DamagedCaptureError(f"link type {link_type & 0xFFFF} is not Ethernet")
    interfaces.append(Interface("", LINK_TYPE_ETHERNET))
    return (yield from _read_blocks(file, order, unit_ns))


def _read_blocks(file: FileIO, order: str, unit_ns: int) -> Generator[Frames, None, Damage | None]:
    buffer = bytearray(BLOCK_BYTES + PADDING_BYTES)
    position, packets, reason = _FILE_HEADER_BYTES, 0, ""
    while not reason:
        file.seek(position)
        count = file.readinto(memoryview(buffer)[:BLOCK_BYTES])
        if not count:
            return None
        chain, used, reason = _record_offsets(buffer, count, order)
        offsets = np.array(chain, np.int64)
        sound = _sound_prefix(buffer, offsets, order, 1_000_000_000 // unit_ns)
        if sound < len(offsets):
            used, reason = chain[sound], "a record header without sense"
        yield _frames(buffer, offsets[:sound], order, unit_ns)
        position += used
        packets += sound
        if not used and not reason:
            reason = "the last record is truncated"
    return Damage(position, packets, reason)


def _record_offsets(buffer: bytearray, count: int, order: str) -> tuple[list[int], int, str]:
    """Offsets of the whole records in a block, where the next one begins, and damage met."""
    caplen_at = struct.Struct(order + "I").unpack_from
    offsets: list[int] = []
    append = offsets.append
    position, last = 0, count - _RECORD_HEADER_BYTES
    while position <= last:
        caplen = caplen_at(buffer, position + 8)[0]
        if caplen > MAX_CAPLEN:
            return offsets, position, f"a record of {caplen} bytes"
        end = position + _RECORD_HEADER_BYTES + caplen
        if end > count:
            break
        append(position)
        position = end
    return offsets, position, ""


def _sound_prefix(buffer: bytearray, offsets: Int64s, order: str, units: int) -> int:
    """Count the leading records with a possible header: fraction in range, caplen <= wirelen."""
    headers = gather(buffer, offsets, _record_header(order))
    wrong = (headers["fraction"] >= units) | (headers["caplen"] > headers["wirelen"])
    return int(np.argmax(wrong)) if wrong.any() else len(offsets)


def _frames(buffer: bytearray, offsets: Int64s, order: str, unit_ns: int) -> Frames:
    headers = gather(buffer, offsets, _record_header(order))
    seconds, fraction = headers["seconds"].astype(np.int64), headers["fraction"].astype(np.int64)
    return Frames(
        buffer=buffer,
        offsets=offsets + _RECORD_HEADER_BYTES,
        t_ns=seconds * 1_000_000_000 + fraction * unit_ns,
        caplen=headers["caplen"].astype(np.int64),
        wirelen=headers["wirelen"].astype(np.int64),
        interface=np.zeros(len(offsets), np.int64),
        is_ethernet=np.ones(len(offsets), np.bool_),
    )


def _record_header(order: str) -> np.dtype[np.void]:
    return np.dtype([(n, order + "u4") for n in ("seconds", "fraction", "caplen", "wirelen")])
