"""Writes pcapng files for tests, block by block, in either byte order."""

import struct
from dataclasses import dataclass, field

SECTION, INTERFACE, SIMPLE, NAMES, STATISTICS, ENHANCED = 0x0A0D0D0A, 1, 3, 4, 5, 6


@dataclass
class Writer:
    """Collects blocks; ``data`` is the file, ``starts`` where each block begins."""

    order: str = "<"
    data: bytearray = field(default_factory=bytearray)
    starts: list[int] = field(default_factory=list)

    def block(self, kind: int, body: bytes) -> None:
        body += bytes(-len(body) % 4)
        length = struct.pack(self.order + "I", len(body) + 12)
        self.starts.append(len(self.data))
        self.data += struct.pack(self.order + "I", kind) + length + body + length

    def section(self, order: str = "<") -> None:
        self.order = order
        self.block(SECTION, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))

    def interface(
        self,
        name: str = "",
        tsresol: int | None = None,
        offset_s: int | None = None,
        link_type: int = 1,
    ) -> None:
        body = struct.pack(self.order + "HHI", link_type, 0, 96)
        if name:
            body += self._option(2, name.encode())
        if tsresol is not None:
            body += self._option(9, bytes([tsresol]))
        if offset_s is not None:
            body += self._option(14, struct.pack(self.order + "q", offset_s))
        self.block(INTERFACE, body + self._option(0, b""))

    def packet(
        self, interface: int, units: int, packet: bytes, snaplen: int = 96, comment: str = ""
    ) -> None:
        kept = packet[:snaplen]
        high, low = divmod(units, 1 << 32)
        body = struct.pack(self.order + "IIIII", interface, high, low, len(kept), len(packet))
        body += kept + bytes(-len(kept) % 4)
        if comment:
            body += self._option(1, comment.encode()) + self._option(0, b"")
        self.block(ENHANCED, body)

    def _option(self, code: int, value: bytes) -> bytes:
        return struct.pack(self.order + "HH", code, len(value)) + value + bytes(-len(value) % 4)
