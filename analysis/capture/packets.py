"""Frames into a table of packets: Ethernet, IPv4 and TCP headers, many at once.

RFC 894 (Ethernet), RFC 791 (IPv4), RFC 9293 (TCP).
"""

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.capture.frames import Frames, gather
from analysis.capture.tcp_options import parse_options
from stage_node.records.line.ethernet import ETHERNET_HEADER_BYTES

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

_ETHERTYPE_IPV4 = 0x0800
_PROTOCOL_TCP = 6

PACKET_SCHEMA: dict[str, pl.DataType] = {
    "t_ns": pl.Int64(),
    "interface": pl.UInt16(),
    "wirelen": pl.UInt32(),
    "src": pl.UInt32(),
    "dst": pl.UInt32(),
    "ip_id": pl.UInt16(),
    "is_tcp": pl.Boolean(),
    "sport": pl.UInt16(),
    "dport": pl.UInt16(),
    "seq": pl.UInt32(),
    "ack": pl.UInt32(),
    "flags": pl.UInt16(),
    "window": pl.UInt16(),
    "payload_len": pl.UInt32(),
    "window_scale": pl.Int8(),
    "has_timestamps": pl.Boolean(),
    "tsval": pl.UInt32(),
    "tsecr": pl.UInt32(),
    "sack": pl.List(pl.UInt32),
}
"""Columns of a packet table.

``t_ns`` is CLOCK_REALTIME. ``interface`` counts the interfaces that the file describes, from 0.
``wirelen`` counts from the Ethernet header on, without the frame check sequence. ``src``, ``dst``
and ``ip_id`` are 0 unless the packet is IPv4. The TCP columns are 0 unless ``is_tcp``: the whole
fixed TCP header was captured, and its own length is possible. ``payload_len`` is from the IPv4
total length, so it is right in short snapshots too. ``window`` is as sent, not scaled. Of the
options, as far as they were captured: ``window_scale`` is -1 without, ``tsval`` and ``tsecr`` hold
where ``has_timestamps``, ``sack`` lists the edges of the blocks (left, right, left, ...), null
where there are none.
"""

_HEADERS: np.dtype[np.void] = np.dtype(
    [
        *(("addresses", "V12"), ("ethertype", ">u2"), ("version_ihl", "u1"), ("tos", "u1")),
        *(("total_length", ">u2"), ("ip_id", ">u2"), ("fragment", ">u2"), ("ttl", "u1")),
        *(("protocol", "u1"), ("checksum", ">u2"), ("src", ">u4"), ("dst", ">u4")),
    ]
)
_TCP: np.dtype[np.void] = np.dtype(
    [
        *(("sport", ">u2"), ("dport", ">u2"), ("seq", ">u4"), ("ack", ">u4"), ("flags", ">u2")),
        *(("window", ">u2"), ("checksum", ">u2"), ("urgent", ">u2")),
    ]
)


def decode(frames: Frames) -> pl.DataFrame:
    """A table with the columns of ``PACKET_SCHEMA``, a row per frame."""
    caplen = frames.caplen
    headers = gather(frames.buffer, frames.offsets, _HEADERS)
    ip_bytes = (headers["version_ihl"] & 0x0F).astype(np.int64) * 4
    is_ipv4 = (
        frames.is_ethernet
        & (headers["ethertype"] == _ETHERTYPE_IPV4)
        & (headers["version_ihl"] >> 4 == 4)
        & (ip_bytes >= 20)
        & (caplen >= ETHERNET_HEADER_BYTES + ip_bytes)
    )
    # Wrong lengths may point anywhere: gather the TCP header only where it is known to lie.
    tcp_begin = np.where(is_ipv4, ETHERNET_HEADER_BYTES + ip_bytes, 0)
    tcp = gather(frames.buffer, frames.offsets + tcp_begin, _TCP)
    tcp_bytes = (tcp["flags"] >> 12).astype(np.int64) * 4
    is_tcp = (
        is_ipv4
        & (headers["protocol"] == _PROTOCOL_TCP)
        & (headers["fragment"] & 0x1FFF == 0)
        & (tcp_bytes >= 20)
        & (caplen >= tcp_begin + 20)
    )
    end = np.where(is_tcp, np.minimum(tcp_begin + tcp_bytes, caplen), 0)
    options = parse_options(frames.buffer, frames.offsets + tcp_begin + 20, frames.offsets + end)
    columns: dict[str, npt.NDArray[np.generic]] = {
        "t_ns": frames.t_ns,
        "interface": frames.interface,
        "wirelen": frames.wirelen,
        **{name: headers[name] * is_ipv4 for name in ("src", "dst", "ip_id")},
        "is_tcp": is_tcp,
        **{name: tcp[name] * is_tcp for name in ("sport", "dport", "seq", "ack", "window")},
        "flags": (tcp["flags"] & 0x1FF) * is_tcp,
        "payload_len": np.maximum(headers["total_length"] - ip_bytes - tcp_bytes, 0) * is_tcp,
        "window_scale": options.window_scale,
        "has_timestamps": options.has_timestamps,
        "tsval": options.tsval,
        "tsecr": options.tsecr,
    }
    series = {
        name: pl.Series(name, values.astype(_NUMPY[PACKET_SCHEMA[name]], copy=False))
        for name, values in columns.items()
    }
    return pl.DataFrame({name: series.get(name, options.sack) for name in PACKET_SCHEMA})


_NUMPY: dict[pl.DataType, type[np.generic]] = {
    pl.Int64(): np.int64,
    pl.UInt32(): np.uint32,
    pl.UInt16(): np.uint16,
    pl.Int8(): np.int8,
    pl.Boolean(): np.bool_,
}
