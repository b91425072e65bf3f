"""Flight of a stream: bytes on the way, the receiver's windows, SACK."""

import numpy as np
import polars as pl

from analysis.capture.packets import FIN, RST, SYN
from analysis.tcp.streams import Int64s, Stream

FLIGHT_SCHEMA: dict[str, pl.DataType] = {
    "row": pl.Int64(),
    "t_ns": pl.Int64(),
    "flight_bytes": pl.Int64(),
    "window_bytes": pl.Int64(),
}
"""After each packet of either direction (``row``: its place in the packet table): bytes sent and
not acknowledged, SYN and FIN among them; and how many more than the last acknowledged the receiver
would take, null before it told or where its window's scale was not captured."""

SACK_SCHEMA: dict[str, pl.DataType] = {
    "t_ns": pl.Int64(),
    "ack": pl.Int64(),
    "first_byte": pl.Int64(),
    "end_byte": pl.Int64(),
    "is_duplicate": pl.Boolean(),
}
"""A block of a selective acknowledgement, in stream offsets, beside the cumulative one.
``is_duplicate``: it reports bytes that had come before (RFC 2883)."""

ZERO_WINDOW_SCHEMA: dict[str, pl.DataType] = {"begin_ns": pl.Int64(), "end_ns": pl.Int64()}
"""From the packet that closed the window to the one that opened it; null where none did."""


def bytes_in_flight(stream: Stream) -> pl.DataFrame:
    """Flight and window over time, in the sender's capture; columns of ``FLIGHT_SCHEMA``."""
    sent, returned = stream.sent, stream.returned
    row = np.concatenate([sent.row, returned.row])
    order = np.argsort(row)
    low = np.iinfo(np.int64).min
    reached = np.concatenate([sent.end, np.full(len(returned), low)])[order]
    acked = np.concatenate([np.full(len(sent), low), returned.ack])[order]
    window = np.concatenate([np.full(len(sent), -1), _windows(stream)])[order]
    top, acknowledged = np.maximum.accumulate(reached), np.maximum.accumulate(acked)
    known = np.maximum.accumulate(np.where(window >= 0, np.arange(len(window)), -1))
    begin = np.maximum(acknowledged, sent.begin.min(initial=0))
    return pl.DataFrame(
        {
            "row": row[order],
            "t_ns": np.concatenate([sent.t_ns, returned.t_ns])[order],
            "flight_bytes": np.maximum(top - begin, 0),
            "window_bytes": np.where(known >= 0, window[known], -1),
        },
        schema=FLIGHT_SCHEMA,
    ).with_columns(pl.col("window_bytes").replace(-1, None))


def _windows(stream: Stream) -> Int64s:
    """The window of each packet returned, in bytes; -1 where its scale is not known.

    RFC 7323, section 2.2: scaled only where both sides asked for it, never in a SYN.
    """
    ours, theirs = stream.sent.window_scale, stream.returned.window_scale
    is_syn = (stream.returned.flags & SYN) != 0
    if not (stream.returned.flags & SYN).any():
        return np.full(len(stream.returned), -1)
    scale = theirs if ours is not None and theirs is not None else 0
    return np.where(is_syn, stream.returned.window, stream.returned.window << scale)


def sack_blocks(stream: Stream) -> pl.DataFrame:
    """Every block that the receiver reported of this stream; columns of ``SACK_SCHEMA``."""
    returned = stream.returned
    with_sack = np.flatnonzero(returned.table["sack"].is_not_null().to_numpy())
    edges = returned.table["sack"].gather(with_sack)
    counts = edges.list.len().to_numpy().astype(np.int64)
    packet = np.repeat(with_sack, counts)
    numbers = edges.explode(empty_as_null=False).to_numpy().astype(np.int64)
    # An edge lies within half the number space of the cumulative acknowledgement beside it.
    raw = returned.table["ack"].to_numpy().astype(np.int64)[packet]
    distance = (numbers - raw + (1 << 31) & 0xFFFFFFFF) - (1 << 31)
    offsets = (returned.ack[packet] + distance).reshape(-1, 2)
    first, end, packet = offsets[:, 0], offsets[:, 1], packet[::2]
    is_first = np.diff(packet, prepend=-1) != 0
    within_next = np.zeros(len(packet), np.bool_)
    within_next[:-1] = (
        ~is_first[1:] & is_first[:-1] & (first[:-1] >= first[1:]) & (end[:-1] <= end[1:])
    )
    return pl.DataFrame(
        {
            "t_ns": returned.t_ns[packet],
            "ack": returned.ack[packet],
            "first_byte": first,
            "end_byte": end,
            "is_duplicate": (is_first & (end <= returned.ack[packet])) | within_next,
        },
        schema=SACK_SCHEMA,
    )


def zero_windows(stream: Stream) -> pl.DataFrame:
    """When the receiver of this stream had no room; columns of ``ZERO_WINDOW_SCHEMA``."""
    returned = stream.returned
    counts = (returned.flags & (SYN | FIN | RST)) == 0
    t_ns, closed = returned.t_ns[counts], returned.window[counts] == 0
    change = np.diff(closed.astype(np.int8), prepend=0)
    begin, end = t_ns[change > 0], t_ns[change < 0]
    ends = pl.Series("end_ns", end).extend_constant(None, len(begin) - len(end))
    return pl.DataFrame({"begin_ns": begin, "end_ns": ends}, schema=ZERO_WINDOW_SCHEMA)
