"""The time-sequence table of one transfer, both ends, after tcptrace's time-sequence graph."""

import numpy as np
import polars as pl

from analysis.tcp.connections import TwoEnds
from analysis.tcp.streams import Int64s, Stream

SEQUENCE_SCHEMA: dict[str, type[pl.DataType]] = {
    "t_ms": pl.Float64,
    "what": pl.String,
    "first_byte": pl.Int64,
    "end_byte": pl.Int64,
}
"""``what``: ``sent`` and ``retransmitted`` segments (sender's capture), ``received`` segments
(receiver's capture), ``acknowledged`` (sender's capture: all bytes before ``end_byte``)."""


def sequence_table(ends: TwoEnds, first: int, end: int) -> pl.DataFrame:
    """Segments and acknowledgements that touch stream offsets ``first`` to ``end``.

    Columns of ``SEQUENCE_SCHEMA``; ``t_ms`` counts from the first of the range's bytes sent.
    """
    sender = ends.sender
    touched = _touching(sender, first, end)
    again = touched & (sender.repeated_bytes > 0)
    received = _touching(ends.receiver, first, end)
    acks = (sender.ack_offset > first) & (sender.ack_offset <= end)
    advancing = acks & (np.diff(sender.ack_offset, prepend=-1) > 0)
    zero_ns = int(sender.t_ns[touched].min(initial=np.iinfo(np.int64).max))
    return pl.concat(
        [
            _rows("sent", sender.t_ns, sender.begin, sender.end, touched & ~again, zero_ns),
            _rows("retransmitted", sender.t_ns, sender.begin, sender.end, again, zero_ns),
            _rows(
                "received",
                ends.receiver.t_ns,
                ends.receiver.begin,
                ends.receiver.end,
                received,
                zero_ns,
            ),
            _rows(
                "acknowledged",
                sender.ack_ns,
                sender.ack_offset,
                sender.ack_offset,
                advancing,
                zero_ns,
            ),
        ]
    )


def _touching(stream: Stream, first: int, end: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return (stream.end > first) & (stream.begin < end)


def _rows(
    what: str,
    t_ns: Int64s,
    begin: Int64s,
    end: Int64s,
    chosen: np.ndarray[tuple[int], np.dtype[np.bool_]],
    zero_ns: int,
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "t_ms": (t_ns[chosen] - zero_ns) / 1e6,
            "what": [what] * int(chosen.sum()),
            "first_byte": begin[chosen],
            "end_byte": end[chosen],
        },
        schema=SEQUENCE_SCHEMA,
    )
