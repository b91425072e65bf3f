"""The newer capture format, pcapng: frames out of its enhanced packet blocks.

Blocks form a chain, as the records of a pcap file do (see :mod:`analysis.capture.pcap`): a short
loop follows it and gathers runs of packet blocks; a section header (which sets the byte order) or
an interface description (which sets the unit of time) ends a run.

Format: draft-ietf-opsawg-pcapng: section header, interface description with ``if_name``,
``if_tsresol`` and ``if_tsoffset``, enhanced packet. Blocks without packets are passed over. A
simple packet block or an obsolete packet block counts as damage, for their packets would be lost:
the one has no time, the other has not been written since 2007.
"""

import struct
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from io import FileIO

import numpy as np
import numpy.typing as npt

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
from analysis.capture.pcap import LINK_TYPE_ETHERNET
from analysis.errors import DamagedCaptureError

MAGIC = b"\x0a\x0d\x0d\x0a"

_SECTION, _INTERFACE, _ENHANCED = 0x0A0D0D0A, 1, 6
_WITH_OTHER_PACKETS = {2: "an obsolete packet block", 3: "a simple packet block, without a time,"}
_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_PACKET_BYTES = 32  # of an enhanced packet block without data and options
_MAX_PACKET_BYTES = MAX_CAPLEN + 65_536  # with options
_MAX_INTERFACE_BYTES = 65_536
_NAME, _RESOLUTION, _OFFSET = 2, 9, 14
_MICROSECONDS = 6
_MAX_SECONDS = 1 << 32  # as much as a pcap file can say: a later time is damage
_MAX_SHIFT = 34  # 10^9 * 2^34 fits in 64 bits


@dataclass(frozen=True)
class _Clock:
    """Time unit of an interface: units of 10^-``power`` or 2^-``power`` s, and an offset."""

    power: int
    is_binary: bool
    offset_s: int

    @property
    def units_per_s(self) -> int:
        return 1 << self.power if self.is_binary else int(10**self.power)

    def to_ns(self, units: npt.NDArray[np.uint64]) -> tuple[Int64s, npt.NDArray[np.bool_]]:
        """Times, rounded down, and whether each is a possible one."""
        per_s = self.units_per_s
        if per_s > 1 << 63:
            seconds, fraction = np.zeros_like(units), np.zeros_like(units)
        else:
            seconds, fraction = units // np.uint64(per_s), units % np.uint64(per_s)
        whole = seconds.astype(np.int64) + self.offset_s
        possible = (seconds < _MAX_SECONDS) & (whole >= 0) & (whole < _MAX_SECONDS)
        return np.where(possible, whole, 0) * 1_000_000_000 + self._part_ns(fraction), possible

    def _part_ns(self, fraction: npt.NDArray[np.uint64]) -> Int64s:
        if self.is_binary:
            # In two halves, since the product of the whole may not fit.
            low_bits = max(self.power - _MAX_SHIFT, 0)
            shift, giga = np.uint64(low_bits), np.uint64(10**9)
            low = (fraction & np.uint64((1 << low_bits) - 1)) * giga >> shift
            part = (fraction >> shift) * giga + low >> np.uint64(self.power - low_bits)
        elif self.power <= 9:
            part = fraction * np.uint64(10 ** (9 - self.power))
        else:
            part = fraction // np.uint64(10 ** (self.power - 9))
        return part.astype(np.int64)


@dataclass
class _Section:
    """State until the next section header."""

    order: str = "<"
    first_interface: int = 0
    clocks: list[_Clock] = field(default_factory=list)
    is_ethernet: list[bool] = field(default_factory=list)


def read_pcapng(
    file: FileIO, interfaces: list[Interface]
) -> Generator[Frames, None, Damage | None]:
    """Frames of a pcapng file, run by run; each must be used before the next is asked for.

    Appends to ``interfaces`` as they are described. Returns the damage met, if any. Raises
    ``DamagedCaptureError`` where the file does not begin with a section header.
    """
    buffer = bytearray(BLOCK_BYTES + PADDING_BYTES)
    section = _Section()
    position, packets, size = 0, 0, file.seek(0, 2)
    while position < size:
        file.seek(position)
        count = file.readinto(memoryview(buffer)[:BLOCK_BYTES])
        run, used, kind, reason = _follow(buffer, count, section.order)
        offsets = np.array(run, np.int64)
        if len(offsets):
            frames, sound, wrong = _frames(buffer, offsets, section)
            yield frames
            packets += sound
            if wrong:
                return Damage(position + run[sound], packets, wrong)
        position += used
        if used and count - used < _MAX_INTERFACE_BYTES:
            continue  # what comes next may end beyond this buffer
        if not reason and kind is not None:
            head = memoryview(buffer)[used:count]
            length, reason = _take(head, kind, section, interfaces, size - position)
            position += length
        elif not reason and not used:
            reason = "the last block is truncated"
        if reason:
            if not interfaces and not packets and not position:
                raise DamagedCaptureError(f"not a pcapng file: {reason}")
            return Damage(position, packets, reason)
    return None


def _follow(buffer: bytearray, count: int, order: str) -> tuple[list[int], int, int | None, str]:
    """A run of packet blocks: their offsets, where it ends, the kind of block there, damage.

    The kind is None if the buffer's end, not another kind of block, ended the run.
    """
    head_at = struct.Struct(order + "II").unpack_from
    offsets: list[int] = []
    append = offsets.append
    position, last = 0, count - 12
    while position <= last:
        kind, length = head_at(buffer, position)
        if kind != _ENHANCED:
            return offsets, position, kind, ""
        if length < _PACKET_BYTES or length > _MAX_PACKET_BYTES or length & 3:
            return offsets, position, None, f"a packet block of {length} bytes"
        if position + length > count:
            break
        append(position)
        position += length
    return offsets, position, None, ""


def _take(
    block: memoryview, kind: int, section: _Section, interfaces: list[Interface], left: int
) -> tuple[int, str]:
    """Learn from a block that holds no packets: its length, and the damage met.

    ``block`` begins with it and may end before it does; ``left`` is what the file has from here.
    """
    if kind == _SECTION:
        order = _ORDERS.get(bytes(block[8:12]))
        if order is None:
            return 0, "a section header without a byte order"
        section.order = order
        section.first_interface = len(interfaces)
        section.clocks.clear()
        section.is_ethernet.clear()
    if kind in _WITH_OTHER_PACKETS:
        return 0, f"{_WITH_OTHER_PACKETS[kind]} cannot be read"
    (length,) = struct.unpack_from(section.order + "I", block, 4)
    if length < 12 or length & 3:
        return 0, f"a block of {length} bytes"
    if length > left:
        return 0, "the last block is truncated"
    if kind == _INTERFACE:
        if length > min(len(block), _MAX_INTERFACE_BYTES) or length < 20:
            return 0, f"an interface description of {length} bytes"
        interface, clock = _interface(block[:length], section.order)
        interfaces.append(interface)
        section.clocks.append(clock)
        section.is_ethernet.append(interface.link_type == LINK_TYPE_ETHERNET)
    return length, ""


def _interface(block: memoryview, order: str) -> tuple[Interface, _Clock]:
    (link_type,) = struct.unpack_from(order + "H", block, 8)
    options = dict(_options(block[16:-4], order))
    name = options.get(_NAME, b"").decode(errors="replace")
    resolution = (options.get(_RESOLUTION) or bytes([_MICROSECONDS]))[0]
    offset = options.get(_OFFSET, b"")
    offset_s = struct.unpack(order + "q", offset)[0] if len(offset) == 8 else 0
    return Interface(name, link_type), _Clock(resolution & 0x7F, resolution > 0x7F, offset_s)


def _options(data: memoryview, order: str) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 4 <= len(data):
        code, length = struct.unpack_from(order + "HH", data, position)
        if code == 0:
            return
        yield code, bytes(data[position + 4 : position + 4 + length])
        position += 4 + (length + 3 & ~3)


def _frames(buffer: bytearray, offsets: Int64s, section: _Section) -> tuple[Frames, int, str]:
    """The sound blocks of a run, how many there are, and what is wrong with the next, if any."""
    names = ("kind", "length", "interface", "high", "low", "caplen", "wirelen")
    header = np.dtype([(name, section.order + "u4") for name in names])
    heads = gather(buffer, offsets, header)
    lengths = heads["length"].astype(np.int64)
    tails = gather(buffer, offsets + lengths - 4, np.dtype([("length", section.order + "u4")]))
    interface = heads["interface"].astype(np.int64)
    caplen, wirelen = heads["caplen"].astype(np.int64), heads["wirelen"].astype(np.int64)
    units = (heads["high"].astype(np.uint64) << np.uint64(32)) | heads["low"]
    t_ns = np.zeros(len(offsets), np.int64)
    possible = np.zeros(len(offsets), np.bool_)
    is_ethernet = np.zeros(len(offsets), np.bool_)
    for number, clock in enumerate(section.clocks):
        of_it = interface == number
        t_ns[of_it], possible[of_it] = clock.to_ns(units[of_it])
        is_ethernet[of_it] = section.is_ethernet[number]
    wrong = {
        "a packet block whose two lengths differ": tails["length"] != heads["length"],
        "a packet of an interface that is not described": interface >= len(section.clocks),
        "a packet block without sense": (caplen > lengths - _PACKET_BYTES) | (caplen > wirelen),
        "a packet of an impossible time": ~possible,
    }
    any_wrong = np.any(list(wrong.values()), axis=0)
    sound = int(np.argmax(any_wrong)) if any_wrong.any() else len(offsets)
    reason = next((r for r, where in wrong.items() if sound < len(offsets) and where[sound]), "")
    frames = Frames(
        buffer=buffer,
        offsets=offsets[:sound] + _PACKET_BYTES - 4,
        t_ns=t_ns[:sound],
        caplen=caplen[:sound],
        wirelen=wirelen[:sound],
        interface=interface[:sound] + section.first_interface,
        is_ethernet=is_ethernet[:sound],
    )
    return frames, sound, reason
