"""Round-trip times of a stream in its sender's capture: from acknowledgements, from timestamps."""

import numpy as np
import polars as pl

from analysis.capture.packets import ACK, FIN, SYN
from analysis.tcp.streams import Bools, Int64s, Stream

ACK_RTT_SCHEMA: dict[str, pl.DataType] = {
    "t_ns": pl.Int64(),
    "rtt_ns": pl.Int64(),
    "end_byte": pl.Int64(),
    "ack_row": pl.Int64(),
    "is_ambiguous": pl.Boolean(),
}
"""``t_ns``: the acknowledgement came. ``rtt_ns``: since the segment that ends at ``end_byte``
first left. ``ack_row``: the acknowledgement's place in the packet table. ``is_ambiguous``: bytes of
the segment had been sent more than once, so it is unknown which one was answered."""

TIMESTAMP_RTT_SCHEMA: dict[str, pl.DataType] = {"t_ns": pl.Int64(), "rtt_ns": pl.Int64()}
"""``t_ns``: the echo came. ``rtt_ns``: since the first segment with that timestamp left."""


def rtt_from_acks(stream: Stream) -> pl.DataFrame:
    """One sample for each acknowledgement that ends exactly where a segment did.

    Columns of ``ACK_RTT_SCHEMA``; SYN and FIN count as segments. After Karn and Partridge
    ("Improving Round-Trip Time Estimates in Reliable Transport Protocols", SIGCOMM 1987) an
    estimator leaves out those that are ambiguous; they are here, marked, because Wireshark's
    ``tcp.analysis.ack_rtt`` has them.
    """
    sent, returned = stream.sent, stream.returned
    chosen = np.flatnonzero(sent.end > sent.begin)
    acks = np.flatnonzero(returned.ack >= 0)
    if not len(chosen) or not len(acks):
        return pl.DataFrame(schema=ACK_RTT_SCHEMA)
    end = sent.end[chosen]
    answer = _first_answer(sent.row[chosen], end, returned.row[acks], returned.ack[acks])
    exact = answer < len(acks)
    exact[exact] = returned.ack[acks][answer[exact]] == end[exact]
    # Of segments with the same end, the first to leave is the one that the sample is of.
    answer, segment = answer[exact], chosen[exact]
    answer, first = np.unique(answer, return_index=True)
    segment, ack = segment[first], acks[answer]
    rtt_ns = returned.t_ns[ack] - sent.t_ns[segment]
    return pl.DataFrame(
        {
            "t_ns": returned.t_ns[ack],
            "rtt_ns": rtt_ns,
            "end_byte": sent.end[segment],
            "ack_row": returned.row[ack],
            "is_ambiguous": _sent_twice(stream, segment, returned.row[ack]),
        },
        schema=ACK_RTT_SCHEMA,
    )


def _first_answer(row: Int64s, end: Int64s, ack_row: Int64s, ack: Int64s) -> Int64s:
    """For each segment, the first later acknowledgement that reaches its end; else their number."""
    after = np.searchsorted(ack_row, row)
    reached = np.maximum.accumulate(ack)
    answer = np.maximum(np.searchsorted(reached, end), after)
    # Only where an acknowledgement had reached the end before (the segment was sent for nothing)
    # may the next one be an old one that does not.
    late = np.flatnonzero((answer == after) & (answer < len(ack)))
    while len(late := late[ack[answer[late]] < end[late]]):
        answer[late] += 1
        late = late[answer[late] < len(ack)]
    return answer


def _sent_twice(stream: Stream, segment: Int64s, ack_row: Int64s) -> Bools:
    """Mark segments whose bytes had left more than once before their acknowledgement came."""
    sent = stream.sent
    begin, end = sent.begin[segment], sent.end[segment]
    ambiguous = np.zeros(len(segment), np.bool_)
    again = _repetitions(stream)
    order = np.argsort(end)
    # Which samples may touch a segment: neighbours, once their beginnings rise as well.
    rising = np.minimum.accumulate(begin[order][::-1])[::-1]
    lowest = np.searchsorted(end[order], sent.begin[again], side="right")
    highest = np.searchsorted(rising, sent.end[again])
    for repeat, low, high in zip(again, lowest, highest, strict=True):
        near = order[low:high]
        touched = (begin[near] < sent.end[repeat]) & (segment[near] <= repeat)
        ambiguous[near] |= touched & (sent.row[repeat] < ack_row[near])
    return ambiguous


def _repetitions(stream: Stream) -> Int64s:
    """Mark packets that repeat a byte, a SYN or a FIN."""
    sent = stream.sent
    repeats = np.zeros(len(sent), np.bool_)
    repeats[stream.has_data] = stream.repeated_bytes > 0
    for flag in (SYN, FIN):
        repeats[np.flatnonzero(sent.flags & flag)[1:]] = True
    return np.flatnonzero(repeats)


def rtt_from_timestamps(stream: Stream) -> pl.DataFrame:
    """One sample for the first echo of each timestamp that an advancing acknowledgement brings.

    Columns of ``TIMESTAMP_RTT_SCHEMA``. The echo says which transmission it answers, so repeated
    segments are no trouble (RFC 7323, section 4; matching as in K. Nichols' pping). A delayed
    acknowledgement counts with its delay.
    """
    sent, returned = stream.sent, stream.returned
    stamped = sent.has_timestamps & (sent.end > sent.begin)
    left = pl.DataFrame({"stamp": sent.tsval[stamped], "left_ns": sent.t_ns[stamped]})
    advancing = np.diff(np.maximum.accumulate(returned.ack), prepend=-1) > 0
    echoing = returned.has_timestamps & ((returned.flags & ACK) != 0) & advancing
    echoes = pl.DataFrame({"stamp": returned.tsecr[echoing], "t_ns": returned.t_ns[echoing]})
    return (
        echoes.unique("stamp", keep="first", maintain_order=True)
        .join(left.unique("stamp", keep="first"), on="stamp", maintain_order="left")
        .filter(pl.col("t_ns") >= pl.col("left_ns"))
        .select("t_ns", rtt_ns=pl.col("t_ns") - pl.col("left_ns"))
    )
