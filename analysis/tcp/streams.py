"""TCP connections in a capture: the segments of each direction, with offsets for sequence numbers.

A *stream* is one direction of one connection. Its offsets count payload bytes: 0 is the first
byte after the SYN, as in the ledger. Sequence numbers (RFC 9293, 32 bit) are unwrapped, so
offsets go on beyond 4 GiB.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.capture.frames import Int64s
from analysis.capture.packets import ACK, FIN, SYN
from analysis.tcp.coverage import NEVER, Coverage

__all__ = ["NEVER", "Coverage", "Flow", "Int64s", "Segments", "Stream", "streams"]

Bools = npt.NDArray[np.bool_]

_COLUMNS = (
    *("t_ns", "wirelen", "ack", "flags", "window", "payload_len", "window_scale"),
    *("has_timestamps", "tsval", "tsecr", "sack"),
)


class Flow(NamedTuple):
    """One direction between two TCP endpoints."""

    src: str
    sport: int
    dst: str
    dport: int

    @property
    def reverse(self) -> "Flow":
        """The other direction."""
        return Flow(self.dst, self.dport, self.src, self.sport)

    def __str__(self) -> str:
        return f"{self.src}:{self.sport} → {self.dst}:{self.dport}"


@dataclass(frozen=True)
class Segments:
    """All TCP packets of one direction of a connection, in the order of the capture.

    ``row`` is each one's place in the packet table, so that both directions can be compared.
    ``begin`` to ``end`` are offsets: the SYN takes the one before 0, a FIN the one after the last
    byte, a packet without either nor payload none. ``ack`` is an offset of the other direction,
    -1 where the flag ACK is not set. ``window`` is as sent, not scaled. ``tsval`` and ``tsecr``
    hold where ``has_timestamps``. ``table`` has the packets' other columns, ``_COLUMNS``.
    """

    row: Int64s
    begin: Int64s
    ack: Int64s
    table: pl.DataFrame

    def __len__(self) -> int:
        return len(self.row)

    @cached_property
    def t_ns(self) -> Int64s:
        """Times, as in the packet table."""
        return self.table["t_ns"].to_numpy()

    @cached_property
    def flags(self) -> Int64s:
        """TCP flags."""
        return self._column("flags")

    @cached_property
    def payload(self) -> Int64s:
        """Payload bytes."""
        return self._column("payload_len")

    @cached_property
    def wirelen(self) -> Int64s:
        """Bytes on the wire, from the Ethernet header on."""
        return self._column("wirelen")

    @cached_property
    def end(self) -> Int64s:
        """The offset after each packet's last."""
        takes_one = (self.flags & (SYN | FIN)) != 0
        end: Int64s = self.begin + self.payload + takes_one
        return end

    @cached_property
    def window(self) -> Int64s:
        """The window as sent."""
        return self._column("window")

    @cached_property
    def window_scale(self) -> int | None:
        """The shift that this direction's SYN announced for its windows; None without."""
        scales = self.table.filter((pl.col("flags") & SYN) != 0)["window_scale"]
        return int(scales[0]) if len(scales) and scales[0] >= 0 else None

    @cached_property
    def has_timestamps(self) -> Bools:
        """Return True if the option was there."""
        return self.table["has_timestamps"].to_numpy()

    @cached_property
    def tsval(self) -> Int64s:
        """The sender's clock, in its own ticks."""
        return self._column("tsval")

    @cached_property
    def tsecr(self) -> Int64s:
        """The other side's clock, as it was echoed."""
        return self._column("tsecr")

    def _column(self, name: str) -> Int64s:
        return self.table[name].to_numpy().astype(np.int64)


@dataclass(frozen=True)
class Stream:
    """One direction of one TCP connection, as one capture saw it.

    Times are as in the packet table it came from. ``anchored``: the SYN was captured, so
    that offsets are true; otherwise the first byte seen counts as offset 0. ``syn_ns`` and
    ``syn_ack_ns`` are the first of the connection's, ``NEVER`` where not captured.
    ``sent`` are the packets of this direction, ``returned`` the other's.
    """

    flow: Flow
    anchored: bool
    syn_ns: int
    syn_ack_ns: int
    sent: Segments
    returned: Segments

    @property
    def mirrored(self) -> "Stream":
        """The other direction of the same connection."""
        anchored = bool(((self.returned.flags & SYN) != 0).any())
        return Stream(
            self.flow.reverse, anchored, self.syn_ns, self.syn_ack_ns, self.returned, self.sent
        )

    @cached_property
    def has_data(self) -> Bools:
        """Packets that carry payload; the arrays below describe those."""
        has_data: Bools = self.sent.payload > 0
        return has_data

    @cached_property
    def t_ns(self) -> Int64s:
        """Times of the data segments."""
        return self.sent.t_ns[self.has_data]

    @cached_property
    def begin(self) -> Int64s:
        """Offset of each data segment's first byte."""
        # A keep-alive probe repeats the byte before its window.
        return np.maximum(self.sent.begin[self.has_data], 0)

    @cached_property
    def end(self) -> Int64s:
        """Offset after each data segment's last byte."""
        end: Int64s = np.maximum((self.sent.begin + self.sent.payload)[self.has_data], 0)
        return end

    @cached_property
    def wirelen(self) -> Int64s:
        """Bytes of each data segment on the wire."""
        return self.sent.wirelen[self.has_data]

    @cached_property
    def _is_ack(self) -> Bools:
        is_ack: Bools = (self.returned.flags & (ACK | SYN)) == ACK
        return is_ack

    @cached_property
    def ack_ns(self) -> Int64s:
        """Times of the acknowledgements that travelled the other way."""
        return self.returned.t_ns[self._is_ack]

    @cached_property
    def ack_offset(self) -> Int64s:
        """Acknowledged offset of each packet: all bytes before it."""
        return self.returned.ack[self._is_ack]

    @cached_property
    def coverage(self) -> Coverage:
        """First and complete times of every byte."""
        return Coverage.of(self.t_ns, self.begin, self.end, self.wirelen)

    @property
    def repeated_bytes(self) -> Int64s:
        """Per data segment: payload bytes that this capture had seen before.

        In the sender's capture these are the retransmitted bytes.
        """
        return self.coverage.repeated

    @property
    def first_ns(self) -> int:
        """The earliest sign of the connection."""
        seen = np.concatenate([[self.syn_ns, self.syn_ack_ns], self.t_ns[:1], self.ack_ns[:1]])
        return int(seen.min())

    @property
    def payload_bytes(self) -> int:
        """Highest offset seen: the payload of the stream without repetitions."""
        return int(self.end.max(initial=0))

    def time_sent(self, offsets: Int64s) -> Int64s:
        """In the sender's capture: when the byte at each offset first left."""
        return self.coverage.first_seen(offsets)

    def time_delivered(self, ends: Int64s) -> Int64s:
        """In the receiver's capture: when all bytes before each (exclusive) offset had arrived."""
        return self.coverage.complete_before(ends)


def streams(packets: pl.DataFrame) -> dict[Flow, list[Stream]]:
    """Every TCP stream of a packet table; a list, since a port pair may be used again."""
    found: dict[Flow, list[Stream]] = {}
    for flow, rows, other_rows in _connections(packets):
        forward, backward = packets[rows], packets[other_rows]
        first, second = _anchor(forward, backward), _anchor(backward, forward)
        sent = _segments(forward, rows, first, second)
        returned = _segments(backward, other_rows, second, first)
        one = Stream(flow, _has_syn(forward), *_handshake(forward, backward), sent, returned)
        for each in (one, one.mirrored):
            found.setdefault(each.flow, []).append(each)
    return found


def _connections(packets: pl.DataFrame) -> Iterator[tuple[Flow, Int64s, Int64s]]:
    """The rows of either direction of each TCP connection."""
    grouped = (
        packets.lazy()
        .with_row_index("row")
        .filter("is_tcp")
        .group_by("src", "sport", "dst", "dport", maintain_order=True)
        .agg("row")
        .collect()
    )
    rows = {
        Flow(str(IPv4Address(src)), sport, str(IPv4Address(dst)), dport): group
        for src, sport, dst, dport, group in zip(*grouped, strict=True)
    }
    while rows:
        flow = next(iter(rows))
        forward = rows.pop(flow).to_numpy().astype(np.int64)
        other = rows.pop(flow.reverse, None)
        backward = np.zeros(0, np.int64) if other is None else other.to_numpy().astype(np.int64)
        begins = _begins(packets, np.union1d(forward, backward))
        parts = zip(
            np.split(forward, np.searchsorted(forward, begins)),
            np.split(backward, np.searchsorted(backward, begins)),
            strict=True,
        )
        yield from ((flow, there, back) for there, back in parts if len(there) or len(back))


def _begins(packets: pl.DataFrame, rows: Int64s) -> Int64s:
    """Find the beginnings of further connections of the same endpoints, by their opening SYN.

    A repeated SYN has the sequence number of the first; a new connection has another.
    """
    opening = rows[(packets["flags"].to_numpy()[rows] & (SYN | ACK)) == SYN]
    renewed = np.diff(packets["seq"].to_numpy()[opening].astype(np.int64)) != 0
    begins: Int64s = opening[1:][renewed]
    return begins


def _segments(packets: pl.DataFrame, rows: Int64s, anchor: int, other: int) -> Segments:
    has_ack = (packets["flags"].to_numpy() & ACK) != 0
    ack = np.full(packets.height, -1)
    ack[has_ack] = _unwrap(packets["ack"].to_numpy()[has_ack], other)
    begin = _unwrap(packets["seq"].to_numpy(), anchor)
    return Segments(rows, begin, ack, packets.select(_COLUMNS))


def _anchor(forward: pl.DataFrame, backward: pl.DataFrame) -> int:
    """The sequence number of offset 0."""
    syns = forward.filter((pl.col("flags") & SYN) != 0)
    if syns.height:
        return int(syns["seq"][0]) + 1
    if forward.height:
        return int(forward["seq"][0])
    return int(backward["ack"][0]) if backward.height else 0


def _unwrap(sequence: npt.NDArray[np.uint32], anchor: int) -> Int64s:
    """Offsets relative to the anchor; neighbours lie within half the number space (RFC 9293)."""
    numbers = np.concatenate([[anchor & 0xFFFFFFFF], sequence]).astype(np.uint32)
    return np.cumsum(np.diff(numbers).astype(np.int32), dtype=np.int64)


def _has_syn(packets: pl.DataFrame) -> bool:
    return bool(((packets["flags"] & SYN) != 0).any())


def _handshake(forward: pl.DataFrame, backward: pl.DataFrame) -> tuple[int, int]:
    """Times of the first SYN and of the first answer to one."""
    is_syn = (pl.col("flags") & SYN) != 0
    syns = pl.concat([forward.filter(is_syn), backward.filter(is_syn)])
    is_answer = (syns["flags"] & ACK) != 0
    return _earliest(syns.filter(~is_answer)), _earliest(syns.filter(is_answer))


def _earliest(packets: pl.DataFrame) -> int:
    return int(packets["t_ns"].min()) if packets.height else NEVER  # type: ignore[arg-type]
