"""Accordion's blocks on the packet time-line.

A block is the part of the model's file between the ends of two configurations that follow each
other: what makes one more configuration able to run. The first also holds what every one needs.
"""

import numpy as np
import polars as pl

from analysis.metrics.delivery.transfers import Transfer
from analysis.run.reader import Run
from analysis.summary.accordion import BlockFigures
from analysis.tcp.streams import NEVER, Int64s
from stage_node.records.events import ConfigurationReady

BLOCKS_SCHEMA: dict[str, type[pl.DataType]] = {
    "ue": pl.String,
    "model": pl.String,
    "configuration": pl.String,
    "first_byte": pl.Int64,
    "end_byte": pl.Int64,
    "t_queued_ns": pl.Int64,
    "t_first_out_ns": pl.Int64,
    "t_last_out_ns": pl.Int64,
    "t_delivered_ns": pl.Int64,
    "wire_bytes": pl.Int64,
    "retransmitted_bytes": pl.Int64,
}
"""One row per block and download that carried a part of it.

``configuration`` is able to run with it; ``first_byte`` to ``end_byte`` of the file is the part
carried. ``t_queued_ns``: the last byte of the request was at the server (server's capture), since
when the block waited for its turn; null where the capture lacks it. ``t_first_out_ns``,
``t_last_out_ns``: first sent (server's capture). ``t_delivered_ns``: it and all before it were at
the UE (UE's capture). ``wire_bytes``, ``retransmitted_bytes``: as in ``analysis.tcp.join``.
"""


def blocks(run: Run, transfers: tuple[Transfer, ...]) -> pl.DataFrame:
    """Every block of every download, columns of ``BLOCKS_SCHEMA``, in the order of the file."""
    parts = [pl.DataFrame(schema=BLOCKS_SCHEMA)]
    parts += [_of_transfer(transfer, _ends(run, transfer)) for transfer in transfers]
    return pl.concat(parts)


def block_figures(table: pl.DataFrame, transfers: tuple[Transfer, ...]) -> tuple[BlockFigures, ...]:
    """The blocks for the summary, their times since the first SYN for the model."""
    zero = pl.DataFrame(
        [(t.event.who, t.event.model, t.begin_ns) for t in transfers],
        schema={"ue": pl.String, "model": pl.String, "zero_ns": pl.Int64},
        orient="row",
    )
    begins = zero.group_by("ue", "model").agg(pl.col("zero_ns").min())
    times = [name for name in BLOCKS_SCHEMA if name.startswith("t_")]
    rows = table.join(begins, on=["ue", "model"], maintain_order="left").with_columns(
        ((pl.col(name) - pl.col("zero_ns")) / 1e9).alias(f"{name[2:-3]}_s") for name in times
    )
    return tuple(
        BlockFigures(**row) for row in rows.select(*BlockFigures.model_fields).iter_rows(named=True)
    )


def _ends(run: Run, transfer: Transfer) -> dict[int, str]:
    """Ends of blocks in the file, and the configuration that each completes."""
    return {
        ready.file_bytes: "-".join(str(blocks) for blocks in ready.configuration)
        for ready in run.events_of(ConfigurationReady)
        if (ready.who, ready.model) == (transfer.event.who, transfer.event.model)
    }


def _of_transfer(transfer: Transfer, names: dict[int, str]) -> pl.DataFrame:
    event = transfer.event
    end = np.array(sorted(names), np.int64)
    begin = np.concatenate([[0], end[:-1]])
    carried = (end > event.first_byte) & (begin < event.end_byte)
    end, begin = end[carried], np.maximum(begin[carried], event.first_byte)
    until = np.minimum(end, event.end_byte)
    first, last = (transfer.header_bytes + at - event.first_byte for at in (begin, until))
    sender, receiver = transfer.ends.sender, transfer.ends.receiver
    count = len(end)
    return pl.DataFrame(
        {
            "ue": [event.who] * count,
            "model": [event.model] * count,
            "configuration": [names[int(at)] for at in end],
            "first_byte": begin,
            "end_byte": until,
            "t_queued_ns": [_requested_ns(transfer)] * count,
            "t_first_out_ns": _nullable(sender.time_sent(first)),
            "t_last_out_ns": _nullable(sender.time_sent(last - 1)),
            "t_delivered_ns": _nullable(receiver.time_delivered(last)),
            "wire_bytes": sender.coverage.wire_between(first, last),
            "retransmitted_bytes": np.maximum(
                sender.coverage.payload_between(first, last) - (last - first), 0
            ),
        },
        schema=BLOCKS_SCHEMA,
    )


def _requested_ns(transfer: Transfer) -> int | None:
    """The request's last byte at the server that came before the response's first left."""
    if transfer.request is None:
        return None
    came = transfer.request.receiver.t_ns
    before = came[came <= transfer.ends.sender.t_ns[0]]
    return int(before[-1]) if len(before) else None


def _nullable(times: Int64s) -> pl.Series:
    series = pl.Series(times)
    return series.set(series == NEVER, None)
