"""A small TCP on a small link, so that captures have a known truth.

It is no model of Linux: every data packet is acknowledged at once, the window starts at ten
segments and grows by one with each acknowledgement, a third duplicate acknowledgement repeats the
missing segment. What matters is that it *records* what happened, beside the packets it leaves.
"""

import heapq
import itertools
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

MSS = 1448
HEADERS = 14 + 20 + 32


@dataclass
class Wire:
    """One direction of a link: serialisation at a rate, an endless queue, a delay."""

    rate_mbit: float
    delay_ms: float
    free_ns: float = 0

    def arrival_ns(self, now_ns: float, size: int) -> int:
        self.free_ns = max(now_ns, self.free_ns) + size * 8e3 / self.rate_mbit
        return round(self.free_ns + self.delay_ms * 1e6)


@dataclass
class Tap:
    """What a capture on one interface would hold: (time, packet)."""

    packets: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass
class Endpoint:
    """One end of a connection. ``dropped`` are offsets whose first transmission is lost."""

    ip: str
    port: int
    isn: int
    tap: Tap
    wire: Wire
    dropped: set[int] = field(default_factory=set)
    written: int = 0
    una: int = 0
    next: int = 0
    window: float = 10
    received: int = 0
    early: dict[int, int] = field(default_factory=dict)
    duplicates: int = 0
    recover: int = -1
    first_sent_ns: dict[int, int] = field(default_factory=dict)
    retransmitted: list[tuple[int, int]] = field(default_factory=list)
    progress: list[tuple[int, int]] = field(default_factory=list)
    on_progress: Callable[[int, int], None] = lambda now, received: None

    def delivered_ns(self, end: int) -> int:
        """Truth: when the first ``end`` bytes had all arrived here."""
        return next(now for now, received in self.progress if received >= end)

    def sent_ns(self, offset: int) -> int:
        """Truth: when the byte at this offset first left here."""
        return max((begin, now) for begin, now in self.first_sent_ns.items() if begin <= offset)[1]


class Connection:
    """Two endpoints and the events between them; ``run`` until nothing is left to do."""

    def __init__(self, client: Endpoint, server: Endpoint, start_ns: int) -> None:
        self.client, self.server = client, server
        self._events: list[tuple[int, int, Callable[[int], None]]] = []
        self._order = itertools.count()
        self.at(start_ns, lambda now: self._packet(now, client, "S", 0, b""))

    def at(self, when_ns: int, action: Callable[[int], None]) -> None:
        heapq.heappush(self._events, (when_ns, next(self._order), action))

    def write(self, when_ns: int, endpoint: Endpoint, size: int) -> None:
        """The application of an endpoint writes at a time (or as soon as it is connected)."""
        self.at(when_ns, lambda now: self._write(now, endpoint, size))

    def run(self) -> None:
        while self._events:
            now, _, action = heapq.heappop(self._events)
            action(now)

    def _peer(self, endpoint: Endpoint) -> Endpoint:
        return self.server if endpoint is self.client else self.client

    def _write(self, now: int, endpoint: Endpoint, size: int) -> None:
        endpoint.written += size
        self._push(now, endpoint)

    def _push(self, now: int, endpoint: Endpoint) -> None:
        while endpoint.next < endpoint.written and (
            endpoint.next - endpoint.una + MSS <= endpoint.window * MSS
        ):
            size = min(MSS, endpoint.written - endpoint.next)
            endpoint.first_sent_ns[endpoint.next] = now
            lost = endpoint.next in endpoint.dropped
            self._packet(now, endpoint, "A", endpoint.next, bytes(size), lost=lost)
            endpoint.next += size

    def _packet(
        self,
        now: int,
        sender: Endpoint,
        flags: str,
        offset: int,
        payload: bytes,
        lost: bool = False,
    ) -> None:
        peer = self._peer(sender)
        seq = sender.isn + (0 if "S" in flags else 1 + offset)
        ack = 0 if flags == "S" else peer.isn + 1 + sender.received
        packet = frame(sender, peer, flags, seq, ack, len(payload), now)
        sender.tap.packets.append((now, packet))
        arrival = sender.wire.arrival_ns(now, len(packet) if not lost else 0)
        if not lost:
            acked = sender.received
            self.at(arrival, lambda t: self._arrive(t, peer, flags, packet, offset, payload, acked))

    def _arrive(
        self,
        now: int,
        endpoint: Endpoint,
        flags: str,
        packet: bytes,
        offset: int,
        payload: bytes,
        acked: int,
    ) -> None:
        endpoint.tap.packets.append((now, packet))
        if flags == "S":
            self._packet(now, endpoint, "SA", 0, b"")
        elif flags == "SA":
            self._packet(now, endpoint, "A", 0, b"")
            self._push(now, endpoint)
        elif payload:
            self._take(now, endpoint, offset, len(payload))
            self._packet(now, endpoint, "A", endpoint.next, b"")
        else:
            self._acknowledged(now, endpoint, acked)

    def _take(self, now: int, endpoint: Endpoint, offset: int, size: int) -> None:
        endpoint.early[offset] = size
        while endpoint.received in endpoint.early:
            endpoint.received += endpoint.early[endpoint.received]
            endpoint.progress.append((now, endpoint.received))
            endpoint.on_progress(now, endpoint.received)

    def _acknowledged(self, now: int, endpoint: Endpoint, acked: int) -> None:
        if acked > endpoint.una:
            endpoint.window += (acked - endpoint.una) / MSS
            endpoint.una, endpoint.duplicates = acked, 0
        elif endpoint.next > endpoint.una:
            endpoint.duplicates += 1
            if endpoint.duplicates >= 3 and endpoint.recover < acked:
                endpoint.recover = acked
                size = min(MSS, endpoint.written - acked)
                endpoint.retransmitted.append((acked, size))
                self._packet(now, endpoint, "A", acked, bytes(size))
        self._push(now, endpoint)


def frame(
    sender: Endpoint, peer: Endpoint, flags: str, seq: int, ack: int, size: int, now_ns: int
) -> bytes:
    """A packet as scapy builds it but for the checksums, its payload zeros."""
    packet = bytearray(_headers(sender.ip, sender.port, peer.ip, peer.port, flags))
    struct.pack_into("!H", packet, 16, len(packet) - 14 + size)
    struct.pack_into("!II", packet, 38, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF)
    struct.pack_into("!I", packet, 58, now_ns // 1_000_000 & 0xFFFFFFFF)
    return bytes(packet) + bytes(size)


@cache
def _headers(src: str, sport: int, dst: str, dport: int, flags: str) -> bytes:
    options = [("NOP", None), ("NOP", None), ("Timestamp", (0, 7))]
    tcp = TCP(sport=sport, dport=dport, flags=flags, options=options)
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    return bytes(ether / IP(src=src, dst=dst) / tcp)


def write_pcap(
    path: Path,
    packets: list[tuple[int, bytes]],
    *,
    snaplen: int = 96,
    order: str = "<",
    nanosecond: bool = True,
) -> None:
    """A capture file of packets (t_ns, bytes), in the order given."""
    magic, unit_ns = (0xA1B23C4D, 1) if nanosecond else (0xA1B2C3D4, 1000)
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, 1)]
    for t_ns, packet in packets:
        seconds, fraction = divmod(t_ns, 1_000_000_000)
        kept = packet[:snaplen]
        parts.append(
            struct.pack(order + "IIII", seconds, fraction // unit_ns, len(kept), len(packet))
        )
        parts.append(kept)
    path.write_bytes(b"".join(parts))
