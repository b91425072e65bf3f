"""TCP connections in a capture: stream offsets, repeated bytes, first and complete arrival times.

A *stream* is one direction of one connection. Its offsets count payload bytes: 0 is the first
byte after the SYN, as in the ledger. Sequence numbers (RFC 9293, 32 bit) are unwrapped, so
offsets go on beyond 4 GiB.
"""

from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.pcap import ACK, SYN

Int64s = npt.NDArray[np.int64]

NEVER: int = np.iinfo(np.int64).max
"""The time of something that the capture does not hold: it compares as later than all times."""


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
class Coverage:
    """When each byte of a stream was first seen, and when all bytes up to it had been.

    Between ``edges[i]`` and ``edges[i + 1]`` all bytes share one history: first seen at
    ``first_ns[i]`` (``NEVER``: not seen), complete from offset 0 on at ``complete_ns[i]``.
    ``payload`` and ``wire`` are cumulative at the edges: bytes seen before this offset with
    repetitions, and the same with the headers of the packets that carried them. ``repeated`` is
    per segment: how many of its bytes an earlier one had carried.
    """

    edges: Int64s
    first_ns: Int64s
    complete_ns: Int64s
    payload: npt.NDArray[np.float64]
    wire: npt.NDArray[np.float64]
    repeated: Int64s

    @classmethod
    def of(cls, t_ns: Int64s, begin: Int64s, end: Int64s, wirelen: Int64s) -> "Coverage":
        """Build from data segments: times, first and end offsets, sizes on the wire."""
        edges = np.unique(np.concatenate([np.zeros(1, np.int64), begin, end]))
        lowest, highest = np.searchsorted(edges, begin), np.searchsorted(edges, end)
        spans = highest - lowest
        packet = np.repeat(np.arange(len(t_ns)), spans)
        nth_of_packet = np.arange(len(packet)) - np.repeat(np.cumsum(spans) - spans, spans)
        interval = lowest[packet] + nth_of_packet
        sizes = np.diff(edges)
        first_ns = np.full(len(sizes), NEVER)
        np.minimum.at(first_ns, interval, t_ns[packet])
        first_packet = np.full(len(sizes), len(t_ns))
        np.minimum.at(first_packet, interval, packet)
        again = np.where(first_packet[interval] < packet, sizes[interval], 0)
        seen = np.bincount(interval, minlength=len(sizes)) * sizes
        per_byte = wirelen / np.maximum(end - begin, 1)
        wire = np.bincount(interval, weights=per_byte[packet], minlength=len(sizes)) * sizes
        return cls(
            edges,
            first_ns,
            np.maximum.accumulate(first_ns),
            np.concatenate([[0.0], np.cumsum(seen)]),
            np.concatenate([[0.0], np.cumsum(wire)]),
            np.bincount(packet, weights=again, minlength=len(t_ns)).astype(np.int64),
        )

    def first_seen(self, offsets: Int64s) -> Int64s:
        """Time at which the byte at each offset was first seen."""
        if not len(self.first_ns):
            return np.full(np.shape(offsets), NEVER)
        interval = np.searchsorted(self.edges, offsets, side="right") - 1
        inside = (interval >= 0) & (interval < len(self.first_ns))
        return np.where(inside, self.first_ns[np.clip(interval, 0, len(self.first_ns) - 1)], NEVER)

    def complete_before(self, ends: Int64s) -> Int64s:
        """Time at which all bytes before each (exclusive, positive) offset had been seen."""
        if not len(self.complete_ns):
            return np.full(np.shape(ends), NEVER)
        interval = np.searchsorted(self.edges, ends, side="left") - 1
        inside = (interval >= 0) & (interval < len(self.complete_ns))
        return np.where(
            inside, self.complete_ns[np.clip(interval, 0, len(self.complete_ns) - 1)], NEVER
        )

    def payload_between(self, begin: Int64s, end: Int64s) -> Int64s:
        """Payload bytes seen of each offset range, repetitions counted."""
        return self._between(self.payload, begin, end)

    def wire_between(self, begin: Int64s, end: Int64s) -> Int64s:
        """Bytes on the wire for each offset range, a packet's headers spread over its payload."""
        return self._between(self.wire, begin, end)

    def _between(self, total: npt.NDArray[np.float64], begin: Int64s, end: Int64s) -> Int64s:
        difference = np.interp(end, self.edges, total) - np.interp(begin, self.edges, total)
        return np.rint(difference).astype(np.int64)


@dataclass(frozen=True)
class Stream:
    """One direction of one TCP connection, as one capture saw it.

    Times are those of the packet table it came from. ``anchored``: the SYN was captured, so
    that offsets are true; otherwise the first byte seen counts as offset 0. ``syn_ns`` and
    ``syn_ack_ns`` are the first of the connection's, ``NEVER`` where not captured.
    The arrays describe the data segments in the order of the capture; ``ack_ns`` and
    ``ack_offset`` the acknowledgements that travelled the other way.
    """

    flow: Flow
    anchored: bool
    syn_ns: int
    syn_ack_ns: int
    t_ns: Int64s
    begin: Int64s
    end: Int64s
    wirelen: Int64s
    ack_ns: Int64s
    ack_offset: Int64s

    @cached_property
    def coverage(self) -> Coverage:
        """First and complete times of every byte."""
        return Coverage.of(self.t_ns, self.begin, self.end, self.wirelen)

    @property
    def repeated_bytes(self) -> Int64s:
        """Per segment: payload bytes that this capture had seen before.

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
    for connection in _connections(packets):
        src, sport, dst, dport = connection.select("src", "sport", "dst", "dport").row(0)
        flow = Flow(str(IPv4Address(src)), sport, str(IPv4Address(dst)), dport)
        there = (connection["src"] == src) & (connection["sport"] == sport)
        forward, backward = connection.filter(there), connection.filter(~there)
        found.setdefault(flow, []).append(_stream(flow, forward, backward))
        found.setdefault(flow.reverse, []).append(_stream(flow.reverse, backward, forward))
    return found


def _connections(packets: pl.DataFrame) -> list[pl.DataFrame]:
    """The packets of each TCP connection: same endpoints, no further opening SYN between."""
    source = pl.col("src").cast(pl.UInt64) * 65536 + pl.col("sport")
    target = pl.col("dst").cast(pl.UInt64) * 65536 + pl.col("dport")
    pair = [pl.min_horizontal(source, target).alias("low")]
    pair.append(pl.max_horizontal(source, target).alias("high"))
    opening = pl.when((pl.col("flags") & (SYN | ACK)) == SYN).then(pl.col("seq"))
    # A repeated SYN has the sequence number of the first; a new connection has another.
    last = opening.forward_fill().over("low", "high")
    renewed = (opening != last.shift(1).over("low", "high")).fill_null(value=False)
    return (
        packets.filter("is_tcp")
        .with_columns(*pair)
        .with_columns(renewed.cum_sum().over("low", "high").alias("nth"))
        .partition_by("low", "high", "nth", maintain_order=True)
    )


def _stream(flow: Flow, forward: pl.DataFrame, backward: pl.DataFrame) -> Stream:
    syns = forward.filter((pl.col("flags") & SYN) != 0)
    handshake = pl.concat([forward, backward]).filter((pl.col("flags") & SYN) != 0)
    is_answer = (handshake["flags"] & ACK) != 0
    anchor = _anchor(forward, backward, syns)
    data = forward.filter(pl.col("payload_len") > 0)
    begin = _unwrap(data["seq"], anchor)
    end = begin + data["payload_len"].to_numpy().astype(np.int64)
    acks = backward.filter((pl.col("flags") & (ACK | SYN)) == ACK)
    return Stream(
        flow=flow,
        anchored=syns.height > 0,
        syn_ns=_earliest(handshake.filter(~is_answer)),
        syn_ack_ns=_earliest(handshake.filter(is_answer)),
        t_ns=data["t_ns"].to_numpy(),
        begin=np.maximum(begin, 0),  # a keep-alive probe repeats the byte before its window
        end=np.maximum(end, 0),
        wirelen=data["wirelen"].to_numpy().astype(np.int64),
        ack_ns=acks["t_ns"].to_numpy(),
        ack_offset=_unwrap(acks["ack"], anchor),
    )


def _anchor(forward: pl.DataFrame, backward: pl.DataFrame, syns: pl.DataFrame) -> int:
    """The sequence number of offset 0."""
    if syns.height:
        return int(syns["seq"][0]) + 1
    if forward.height:
        return int(forward["seq"][0])
    return int(backward["ack"][0]) if backward.height else 0


def _unwrap(sequence: pl.Series, anchor: int) -> Int64s:
    """Offsets relative to the anchor; neighbours lie within half the number space (RFC 9293)."""
    numbers = np.concatenate([[anchor & 0xFFFFFFFF], sequence.to_numpy()]).astype(np.uint32)
    return np.cumsum(np.diff(numbers).astype(np.int32), dtype=np.int64)


def _earliest(packets: pl.DataFrame) -> int:
    return int(packets["t_ns"].min()) if packets.height else NEVER  # type: ignore[arg-type]
