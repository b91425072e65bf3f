"""Each inference's latency, taken apart: what every host and every hop spent of it, and on what.

An inference is a frame on its way from admission to result. It visits, in this order, *places*: the
first stage's host, the first hop, the next stage's host, ..., and the way of the result back. In
each place its time goes to five parts:

``compute``
    A stage's model (ledger: ``t_begin`` to ``t_end``). Also what the host does for the frame before
    and after: from its arrival, or from the moment at which the stage had passed on the frame
    before (ledger: ``t_free``) if that is later, to ``t_begin`` (taking it from the kernel,
    decoding, waking threads); encoding, from handed over (``t_queued``), or the end of sending the
    frame before if later, to the first system call that sends it (ledger: ``t_begin`` of the send).
``queueing``
    Behind others. At a host: from arrival until the stage had passed on the frame before. On a hop,
    at the sender, while the slowest link was busy with what came before; and in queues of links.
``transport``
    Waiting for TCP. At the sender, while the slowest link was idle; on the wire, while TCP left it
    idle or repaired a loss. The way of the result back, over the unshaped management network that
    has no captures, is transport from the end of the last stage's compute to the result (ledger).
``serialisation``, ``propagation``
    On the wire.

What a frame waits at the sender is from handed over (ledger) until the frame before had been sent
(ledger), and from the first system call that sends it (ledger) to its first byte out (sender's
capture). How waiting and the time on the wire are divided is described in
``analysis.metrics.pipeline.crossing``.

*Arrival* is admission by the source (ledger) at the first stage, and the last byte delivered
(receiver's capture) at the others. At hosts and up to the first byte out the parts are differences
of consecutive moments; on the wire each is measured by itself. So their sum need not be the
end-to-end time; how far it is off, as a share of it, is the inference's ``error``.
"""

from dataclasses import dataclass
from functools import cached_property

import polars as pl

from analysis.metrics.links.pace import Pace
from analysis.metrics.pipeline.crossing import WIRE_PARTS, crossings
from analysis.metrics.pipeline.latency import LATENCY_NS
from analysis.run.network import LinkDirection
from analysis.run.pipeline_view import partition_of
from analysis.run.reader import Run
from analysis.summary.pipeline import Breakdown, PlaceParts
from analysis.tcp.connections import CapturedStreams
from analysis.tcp.streams import Flow

PARTS = ("compute", "serialisation", "queueing", "propagation", "transport")

_PARTS_NS = [f"{part}_ns" for part in PARTS]
_KEY = ["generation", "sequence"]

PLACES_SCHEMA: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(_KEY, pl.Int64),
    "order": pl.Int64,
    "place": pl.String,
    **dict.fromkeys(("begin_ns", "end_ns"), pl.Int64),
    **dict.fromkeys(_PARTS_NS, pl.Float64),
}
"""One row per inference and place; ``place``: ``edge`` or ``ue1 → edge``; times are monotonic."""

INFERENCES_SCHEMA: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(_KEY, pl.Int64),
    **dict.fromkeys(("t_admitted_ns", "t_result_ns"), pl.Int64),
    **dict.fromkeys(_PARTS_NS, pl.Float64),
    **dict.fromkeys(("total_ns", "error"), pl.Float64),
}
"""One row per inference whose every place is known; ``error``: (sum of parts - total) / total."""


CLOSED = 0.01
"""Parts that add up to the end-to-end time within this share close."""


@dataclass(frozen=True)
class Latency:
    """The time of every frame, place by place: ``places`` has ``PLACES_SCHEMA``, sorted."""

    results: pl.DataFrame
    places: pl.DataFrame

    @cached_property
    def inferences(self) -> pl.DataFrame:
        """The sums over all places (``INFERENCES_SCHEMA``), in the order of admission."""
        count = self.places["order"].n_unique()
        sums = (
            self.places.drop_nulls()
            .group_by(_KEY)
            .agg(pl.len().alias("known"), *(pl.col(part).sum() for part in _PARTS_NS))
            .filter(pl.col("known") == count)
        )
        return (
            self.results.join(sums, on=_KEY)
            .with_columns(total_ns=LATENCY_NS.cast(pl.Float64))
            .with_columns(error=pl.sum_horizontal(_PARTS_NS) / pl.col("total_ns") - 1)
            .sort("t_admitted_ns")
            .select(pl.col(name).cast(dtype) for name, dtype in INFERENCES_SCHEMA.items())
        )

    def figures(self, chosen: pl.DataFrame) -> Breakdown | None:
        """Means over the frames in ``chosen`` (``generation`` and ``sequence``); None of none."""
        frames = self.inferences.join(chosen, on=_KEY, how="semi")
        if not frames.height:
            return None
        span = (pl.col("end_ns") - pl.col("begin_ns")).cast(pl.Float64)
        means = (
            self.places.join(frames, on=_KEY, how="semi")
            .with_columns(total_ns=span)
            .group_by("order", "place")
            .agg(pl.col("total_ns", *_PARTS_NS).mean() / 1e6)
            .sort("order")
        )
        errors = frames["error"].abs()
        return Breakdown(
            frames=frames.height,
            closed_share=(errors <= CLOSED).sum() / frames.height,
            worst_error=errors.to_numpy().max(),
            places=tuple(
                PlaceParts(
                    place=row["place"],
                    **{
                        name: row[f"{name[:-3]}_ns"]
                        for name in PlaceParts.model_fields
                        if "_ms" in name
                    },
                )
                for row in means.iter_rows(named=True)
            ),
        )


def latency(
    run: Run, frames: pl.DataFrame, wire: CapturedStreams, paces: dict[LinkDirection, Pace]
) -> Latency:
    """Every frame's time in every place; empty if the stages did not say since when they were
    free (ledgers of older versions).

    ``run`` is a pipeline's view of the run, ``frames`` its part of the
    joined table of ``analysis.tcp.join``.
    """
    if run.compute["t_free_ns"].null_count() == run.compute.height:
        return Latency(run.results, pl.DataFrame(schema=PLACES_SCHEMA))
    hosts = partition_of(run).hosts
    hops = _hops(frames, wire, paces)
    arrivals = run.results.select(*_KEY, pl.col("t_admitted_ns").alias("t_arrived_ns"))
    parts = [pl.DataFrame(schema=PLACES_SCHEMA)]
    for stage, host in enumerate(hosts):
        computed = run.compute.filter(pl.col("node") == host)
        parts.append(_at_host(computed, arrivals, stage, host))
        if stage < len(hosts) - 1:
            hop = hops.filter(pl.col("cut") == stage)
            parts.append(_on_hop(hop, stage, f"{host} → {hosts[stage + 1]}"))
            arrivals = hop.select(*_KEY, pl.col("t_delivered_ns").alias("t_arrived_ns"))
        else:
            parts.append(_back(computed, run.results, stage, f"{host} → {hosts[0]} (result)"))
    return Latency(run.results, pl.concat(parts).sort(*_KEY, "order"))


def _hops(
    frames: pl.DataFrame, wire: CapturedStreams, paces: dict[LinkDirection, Pace]
) -> pl.DataFrame:
    """Joined activation frames with what their crossing was spent on."""
    wire_columns = (pl.lit(None, pl.Float64).alias(part) for part in WIRE_PARTS)
    turn = pl.lit(None, pl.Int64).alias("t_turn_ns")
    parts = [frames.clear().with_columns(turn, *wire_columns)]
    for sent in frames.partition_by("local_ip", "local_port", "peer_ip", "peer_port"):
        before_sent = pl.min_horizontal(pl.col("t_end_ns").shift(1, fill_value=0), "t_begin_ns")
        ordered = sent.sort("first_byte").with_columns(
            pl.max_horizontal("t_queued_ns", before_sent).alias("t_turn_ns")
        )
        activations = ordered.filter(pl.col("kind") == "activation")
        if not activations.height:  # the greeting of the receiving end
            continue
        row = ordered.row(0, named=True)
        flow = Flow(row["local_ip"], row["local_port"], row["peer_ip"], row["peer_port"])
        ends = wire.two_ends(flow, row["t_end_ns"])
        assert ends is not None  # these frames were joined from the same stream
        parts.append(activations.hstack(crossings(activations, ends, wire, paces)))
    return pl.concat(parts)


def _at_host(computed: pl.DataFrame, arrivals: pl.DataFrame, stage: int, host: str) -> pl.DataFrame:
    arrived, begin = pl.col("t_arrived_ns"), pl.col("t_begin_ns")
    free = pl.max_horizontal(arrived, pl.min_horizontal("t_free_ns", begin))
    return _rows(
        computed.join(arrivals, on=_KEY),
        order=2 * stage,
        place=host,
        begin=arrived,
        end=pl.col("t_end_ns"),
        queueing=free - arrived,
        compute=pl.col("t_end_ns") - free,
    )


def _on_hop(hop: pl.DataFrame, stage: int, place: str) -> pl.DataFrame:
    return _rows(
        hop.drop_nulls(["t_first_out_ns", "t_delivered_ns"]),
        order=2 * stage + 1,
        place=place,
        begin=pl.col("t_queued_ns"),
        end=pl.col("t_delivered_ns"),
        compute=pl.col("t_begin_ns") - pl.col("t_turn_ns"),
        **{part: pl.col(part) for part in WIRE_PARTS},
    )


def _back(computed: pl.DataFrame, results: pl.DataFrame, stage: int, place: str) -> pl.DataFrame:
    end, result = pl.col("t_end_ns"), pl.col("t_result_ns")
    both = computed.join(results.select(*_KEY, "t_result_ns"), on=_KEY)
    return _rows(
        both, order=2 * stage + 1, place=place, begin=end, end=result, transport=result - end
    )


def _rows(
    rows: pl.DataFrame, order: int, place: str, begin: pl.Expr, end: pl.Expr, **parts: pl.Expr
) -> pl.DataFrame:
    spent = {f"{part}_ns": parts.get(part, pl.lit(0.0)) for part in PARTS}
    columns = {"order": pl.lit(order), "place": pl.lit(place), "begin_ns": begin, "end_ns": end}
    every = {**{key: pl.col(key) for key in _KEY}, **columns, **spent}
    return rows.select(every[name].cast(dtype).alias(name) for name, dtype in PLACES_SCHEMA.items())
