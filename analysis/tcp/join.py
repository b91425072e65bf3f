"""Ledger and captures joined by stream offset: when each frame really was on the wire.

A row of the ledger says which bytes of a TCP stream a frame was; the captures at both ends
say when those bytes left and when they had all arrived.
"""

import numpy as np
import polars as pl

from analysis.run.reader import Run
from analysis.tcp.connections import CapturedStreams, TwoEnds
from analysis.tcp.streams import NEVER, Flow, Int64s

JOINED_SCHEMA: dict[str, type[pl.DataType]] = {
    "t_first_out_ns": pl.Int64,
    "t_last_out_ns": pl.Int64,
    "t_first_in_ns": pl.Int64,
    "t_delivered_ns": pl.Int64,
    "wire_bytes": pl.Int64,
    "retransmitted_bytes": pl.Int64,
    "links": pl.List(pl.String),  # type: ignore[dict-item]
}
"""What the join adds to each sent frame.

``t_first_out_ns``, ``t_last_out_ns``: the frame's first and last byte first left, in the sender's
capture. ``t_first_in_ns``, ``t_delivered_ns``: its first byte had arrived, and all bytes of the
stream up to its end had, in the receiver's capture. ``wire_bytes``: with TCP, IP and Ethernet
headers and retransmissions, sender's capture; the headers of a packet that holds two frames are
shared out by payload. ``retransmitted_bytes``: payload sent more than once. ``links``: names, in
order. Times that were not seen are null.
"""

_CONNECTION = ["local_ip", "local_port", "peer_ip", "peer_port"]


def join_frames(run: Run, wire: CapturedStreams) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Every frame sent over a cut, with when it was on the wire; and what could not be joined.

    Columns: the ledger's ``frames`` (rows of direction ``send``) and ``JOINED_SCHEMA``.
    """
    sent = run.frames.filter((pl.col("direction") == "send") & (pl.col("cut") >= 0))
    parts = [_empty(sent)]
    problems = []
    for frames in sent.partition_by(_CONNECTION, maintain_order=True):
        joined, problem = _join_connection(frames, wire)
        parts.append(joined)
        problems += [problem] if problem else []
    return pl.concat(parts), tuple(problems)


def _empty(sent: pl.DataFrame) -> pl.DataFrame:
    return sent.clear().hstack(pl.DataFrame(schema=JOINED_SCHEMA))


def _join_connection(frames: pl.DataFrame, wire: CapturedStreams) -> tuple[pl.DataFrame, str]:
    local_ip, local_port, peer_ip, peer_port = frames.select(_CONNECTION).row(0)
    flow = Flow(local_ip, local_port, peer_ip, peer_port)
    cut = frames["cut"][0]
    ends = wire.two_ends(flow, int(frames["t_end_ns"].max()))  # type: ignore[arg-type]
    if ends is None:
        return _empty(frames), f"cut {cut}: no capture at both ends of {flow}"
    columns = _wire_columns(frames, ends)
    missing = int(columns["t_delivered_ns"].null_count())
    problem = f"cut {cut}: {missing} of {frames.height} frames of {flow} never arrived completely"
    if not ends.sender.anchored or not ends.receiver.anchored:
        return _empty(frames), f"cut {cut}: the captures do not hold the beginning of {flow}"
    return frames.hstack(columns), problem if missing else ""


def _wire_columns(frames: pl.DataFrame, ends: TwoEnds) -> pl.DataFrame:
    first, end = frames["first_byte"].to_numpy(), frames["end_byte"].to_numpy()
    sender, receiver = ends.sender, ends.receiver
    links = [step.link for step in ends.path]
    # Never less than nothing: a capture that lost packets saw less than was sent.
    again = np.maximum(sender.coverage.payload_between(first, end) - (end - first), 0)
    return pl.DataFrame(
        {
            "t_first_out_ns": _nullable(sender.time_sent(first)),
            "t_last_out_ns": _nullable(sender.time_sent(end - 1)),
            "t_first_in_ns": _nullable(receiver.time_sent(first)),
            "t_delivered_ns": _nullable(receiver.time_delivered(end)),
            "wire_bytes": sender.coverage.wire_between(first, end),
            "retransmitted_bytes": again,
            "links": pl.Series([links] * frames.height, dtype=pl.List(pl.String)),
        }
    )


def _nullable(times: Int64s) -> pl.Series:
    series = pl.Series(times)
    return series.set(series == NEVER, None)
