"""Are the captures of two runs the same, bit for bit; and if not, where do they part?"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from analysis.errors import NotARunError
from stage_node.records.line.ethernet import ETHERNET_HEADER_BYTES
from stage_node.records.run_directory import RunDirectory

_FILE_HEADER_BYTES = 24
_RECORD = struct.Struct("<IIII")
_IPV4, _TCP = b"\x08\x00", 6
_TCP_BYTES = 20
_TCP_CHECKSUM = slice(16, 18)


@dataclass(frozen=True)
class Packet:
    """One record of a capture: time (ns), length on the wire (bytes), the bytes captured."""

    t_ns: int
    wirelen: int
    data: bytes

    @property
    def headers(self) -> bytes:
        """Ethernet, IPv4 and TCP headers; the TCP checksum, which is also of the payload, zeroed.
        All of a packet that is not TCP, or was captured to less than 20 bytes of TCP."""
        if self.data[12:14] != _IPV4 or self.data[23:24] != bytes([_TCP]):
            return self.data
        begin = ETHERNET_HEADER_BYTES + (self.data[ETHERNET_HEADER_BYTES] & 0x0F) * 4
        if len(self.data) < begin + _TCP_BYTES:
            return self.data
        end = begin + (self.data[begin + 12] >> 4) * 4
        tcp = bytearray(self.data[begin:end])
        tcp[_TCP_CHECKSUM] = bytes(2)
        return self.data[:begin] + bytes(tcp)

    def __str__(self) -> str:
        return f"{self.t_ns} ns, {self.wirelen} bytes on the wire, {self.data.hex(' ', 2)}"


@dataclass(frozen=True)
class Difference:
    """The first packet (from 0) of a capture in which two runs differ; None beyond the end."""

    capture: str
    number: int
    first: Packet | None
    second: Packet | None


@dataclass(frozen=True)
class Fingerprint:
    """All captures of a run in two hashes (SHA-256): of times, lengths and headers, which the
    network makes, and of everything, which also depends on how a processor adds."""

    captures: int
    packets: int
    headers_sha256: str
    everything_sha256: str


def fingerprint(run: Path) -> Fingerprint:
    """Hash the captures of a run directory, in the order of their names."""
    headers, everything, packets = hashlib.sha256(), hashlib.sha256(), 0
    files = captures(run)
    for file in files:
        for hashed in (headers, everything):
            hashed.update(file.name.encode() + b"\0")
        everything.update(file.read_bytes())
        for packet in packets_of(file):
            headers.update(struct.pack("<QII", packet.t_ns, packet.wirelen, len(packet.headers)))
            headers.update(packet.headers)
            packets += 1
    return Fingerprint(len(files), packets, headers.hexdigest(), everything.hexdigest())


def first_difference(first: Path, second: Path) -> Difference | None:
    """The first packet that is not the same in both run directories, the earliest of all captures;
    None if all captures are identical."""
    folders = [RunDirectory(run).captures for run in (first, second)]
    names = sorted({file.name for run in (first, second) for file in captures(run)})
    found = [
        difference
        for name in names
        if (difference := _parting(name, *(folder / name for folder in folders)))
    ]
    return min(found, key=_time, default=None)


def captures(run: Path) -> list[Path]:
    """The captures of a run directory, by name."""
    return sorted(RunDirectory(run).captures.glob("*.pcap"))


def packets_of(file: Path) -> Iterator[Packet]:
    """The records of a capture as the testbed makes them; one that is cut off is left out.

    Raises NotARunError for another format.
    """
    content = file.read_bytes()
    if content[:4] != b"\x4d\x3c\xb2\xa1" and content:
        raise NotARunError(f"{file}: not a capture of the testbed (nanoseconds, little-endian)")
    position = _FILE_HEADER_BYTES
    while position + _RECORD.size <= len(content):
        seconds, fraction_ns, caplen, wirelen = _RECORD.unpack_from(content, position)
        begin = position + _RECORD.size
        position = begin + caplen
        if position <= len(content):
            t_ns = seconds * 10**9 + fraction_ns
            yield Packet(t_ns, wirelen, content[begin:position])


def _parting(name: str, first: Path, second: Path) -> Difference | None:
    if first.is_file() and second.is_file() and first.read_bytes() == second.read_bytes():
        return None
    both = (packets_of(file) if file.is_file() else iter(()) for file in (first, second))
    for number, (ours, theirs) in enumerate(zip_longest(*both)):
        if ours != theirs:
            return Difference(name, number, ours, theirs)
    return Difference(name, 0, None, None)


def _time(difference: Difference) -> int:
    return min((p.t_ns for p in (difference.first, difference.second) if p), default=0)
