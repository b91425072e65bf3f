"""Every packet that the captures of a run hold, in one table."""

from ipaddress import IPv4Address
from pathlib import Path

import numpy as np
import polars as pl

from analysis.capture.packets import PACKET_SCHEMA
from analysis.run.network import LinkDirection
from analysis.run.reader import Run
from analysis.tcp.connections import CapturedStreams
from analysis.tcp.delays import one_way_delays
from analysis.tcp.segment_kinds import SegmentKind, SegmentKinds

KINDS = pl.Enum([kind.name.lower() for kind in SegmentKind])

RUN_PACKET_SCHEMA: dict[str, pl.DataType] = {
    **dict.fromkeys(("link", "direction", "end", "interface", "flow"), pl.Categorical()),
    "offset": pl.Int64(),
    "kind": KINDS,
    "delay_ns": pl.Int64(),
    **{name: dtype for name, dtype in PACKET_SCHEMA.items() if name != "interface"},
}
"""Columns of ``PACKET_SCHEMA`` (times on the monotonic clock, the ledger's) and before them: the
``link``; the ``direction`` in which the packet crosses it, null where neither end sent it (ARP);
the ``end`` at which this capture stood, ``sender`` or ``receiver``; its ``interface``; the
``flow``, the ``offset`` of the packet's first byte in the stream and the ``kind`` of segment, null
unless it is TCP; ``delay_ns`` until the packet passed the link's other end, at the ``sender``, null
where it never did."""


def packet_table(run: Run, wire: CapturedStreams) -> pl.DataFrame:
    """One row per captured packet, in the order of time; columns of ``RUN_PACKET_SCHEMA``."""
    parts = [pl.DataFrame(schema=RUN_PACKET_SCHEMA)]
    for link in run.network.links:
        ways = [each for each in run.network.directions if each.link == link.name]
        ends = (link.a.interface, link.b.interface)
        captures = {each: _with_streams(run.captures[each], wire, each) for each in ends}
        for way in ways:
            sender, receiver = way.sender.interface, way.receiver.interface
            sent, received = (captures[each].filter(_is_from(way)) for each in (sender, receiver))
            sent = sent.with_columns(one_way_delays(sent, received)["delay_ns"])
            parts.append(_placed(sent, link.name, way.direction, "sender", sender))
            parts.append(_placed(received, link.name, way.direction, "receiver", receiver))
        for interface, packets in captures.items():
            others = packets.filter(~pl.any_horizontal(_is_from(way) for way in ways))
            parts.append(_placed(others, link.name, None, None, interface))
    return pl.concat(parts).sort("t_ns", maintain_order=True)


def write_packets(packets: pl.DataFrame, path: Path) -> None:
    """As CSV where the name ends so (addresses and SACK edges in words), else as Parquet."""
    if path.suffix != ".csv":
        packets.write_parquet(path)
        return
    in_words = [pl.col(name).map_elements(_address, pl.String) for name in ("src", "dst")]
    edges = pl.col("sack").cast(pl.List(pl.String)).list.join(" ")
    packets.with_columns(*in_words, edges).write_csv(path)


def _address(number: int) -> str:
    return str(IPv4Address(number))


def _is_from(way: LinkDirection) -> pl.Expr:
    return pl.col("src").is_in([int(IPv4Address(ip)) for ip in way.sources])


def _with_streams(packets: pl.DataFrame, wire: CapturedStreams, interface: str) -> pl.DataFrame:
    """The packets of one capture with ``flow``, ``offset`` and ``kind``."""
    flow = np.full(packets.height, -1)
    offset, kind = np.zeros(packets.height, np.int64), np.zeros(packets.height, np.int64)
    names: list[str] = []
    for name, found in wire.streams_at(interface).items():
        for stream in found:
            flow[stream.sent.row] = len(names)
            offset[stream.sent.row] = stream.sent.begin
            kind[stream.sent.row] = SegmentKinds(stream).kind
        names.append(str(name))
    known = pl.Series(flow >= 0)
    flows = pl.Series([*names, None], dtype=pl.Categorical).gather(
        np.where(known, flow, len(names))
    )
    return packets.with_columns(
        flow=flows,
        offset=pl.when(known).then(pl.Series(offset)),
        kind=pl.when(known).then(KINDS.categories.gather(kind).cast(KINDS)),
        delay_ns=pl.lit(None, pl.Int64()),
    )


def _placed(
    packets: pl.DataFrame, link: str, direction: str | None, end: str | None, interface: str
) -> pl.DataFrame:
    where = {"link": link, "direction": direction, "end": end, "interface": interface}
    columns = {name: pl.lit(value).cast(pl.Categorical()) for name, value in where.items()}
    return packets.with_columns(**columns).select(RUN_PACKET_SCHEMA.keys())
