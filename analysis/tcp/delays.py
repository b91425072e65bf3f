"""One-way delay of every packet over a link, from the captures at its two ends, on one clock."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

DELAY_SCHEMA: dict[str, pl.DataType] = {
    "row": pl.Int64(),
    "t_ns": pl.Int64(),
    "arrived_ns": pl.Int64(),
    "delay_ns": pl.Int64(),
    "wirelen": pl.UInt32(),
}
"""``row``: place in the sender's packet table. ``t_ns``: when the packet passed the sender's end.
``arrived_ns``: the receiver's. Null where the packet did not arrive."""

_SAME = ["src", "dst", "ip_id", "is_tcp", "sport", "dport", "seq", "ack", "flags", "window"]
_SAME += ["payload_len", "tsval", "tsecr", "wirelen"]


def one_way_delays(sent: pl.DataFrame, received: pl.DataFrame) -> pl.DataFrame:
    """Match the IPv4 packets that two captures saw; columns of ``DELAY_SCHEMA``, order of ``sent``.

    Both tables hold the packets of one direction (see ``LinkDirection.sources``), on one clock. A
    packet is the same when all its header fields are, the IPv4 identification among them; of
    several that are the same in everything, the first is matched with the first to arrive.
    """
    nth = pl.int_range(pl.len()).over(_SAME).alias("nth")
    left = sent.lazy().with_row_index("row").filter(pl.col("src") != 0)
    left = left.select(pl.col("row").cast(pl.Int64), "t_ns", *_SAME).with_columns(nth)
    right = received.lazy().filter(pl.col("src") != 0)
    right = right.select(pl.col("t_ns").alias("arrived_ns"), *_SAME).with_columns(nth)
    return (
        left.join(right, on=[*_SAME, "nth"], how="left", maintain_order="left")
        .with_columns(delay_ns=pl.col("arrived_ns") - pl.col("t_ns"))
        .select(*DELAY_SCHEMA)
        .collect()
    )


@dataclass(frozen=True)
class DelayParts:
    """Parts of each packet's delay, nanoseconds; the three add up to it.

    ``propagation_ns`` is the same for all: the least that any packet needed beyond its
    serialisation.
    """

    propagation_ns: float
    serialisation_ns: npt.NDArray[np.float64]
    queueing_ns: npt.NDArray[np.float64]


def delay_parts(delays: pl.DataFrame, rate_mbit: float | None = None) -> DelayParts:
    """Divide the delays of packets that arrived (``DELAY_SCHEMA``, without nulls).

    Without a rate, serialisation counts as part of the propagation: queueing is then the
    difference to the least delay. With jitter, loss recovery below IP or a rate that changes
    the queueing includes them.
    """
    delay = delays["delay_ns"].to_numpy().astype(np.float64)
    per_byte = 8e3 / rate_mbit if rate_mbit else 0.0
    serialisation = delays["wirelen"].to_numpy() * per_byte
    propagation = float((delay - serialisation).min()) if len(delay) else 0.0
    return DelayParts(propagation, serialisation, delay - serialisation - propagation)
