"""Quick answers from the captures of a run: its flows, its slowest frames and why."""

from dataclasses import dataclass

import polars as pl

from analysis.metrics.measure import Measured, MeasuredPipeline
from analysis.metrics.pipeline.breakdown import PARTS
from analysis.tcp.connections import CapturedStreams
from analysis.tcp.flows import FlowFigures, flow_figures
from analysis.tcp.streams import Flow, Stream


@dataclass(frozen=True)
class TracedFlow:
    """One direction of a connection that carried payload.

    ``figures`` are from the sender's capture; ``goodput_mbit`` from the receiver's: until all was
    readable there.
    """

    source: str
    target: str
    what: str
    figures: FlowFigures
    goodput_mbit: float | None


@dataclass(frozen=True)
class SlowFrame:
    """A frame, and what it spent more time on than frames of its generation usually do.

    ``part`` of ``place`` is where it was furthest above the median; both in ms.
    """

    generation: int
    sequence: int
    admitted_s: float
    total_ms: float
    usual_ms: float
    place: str
    part: str
    spent_ms: float
    usually_ms: float


def traced_flows(measured: Measured) -> list[TracedFlow]:
    """Every flow with payload, the one with most bytes on the wire first."""
    names = _names(measured)
    network = measured.run.network
    found = []
    for flow in measured.wire.flows:
        try:
            source, target = network.owner(flow.src), network.owner(flow.dst)
        except KeyError:
            continue
        for stream, goodput_mbit in _both_ends(measured.wire, flow):
            found.append(
                TracedFlow(
                    source=source,
                    target=target,
                    what=names.get(_either_way(flow), ""),
                    figures=flow_figures(stream),
                    goodput_mbit=goodput_mbit,
                )
            )
    return sorted(found, key=lambda traced: -traced.figures.wire_bytes)


def slowest_frames(measured: MeasuredPipeline, count: int) -> list[SlowFrame]:
    """The frames that took longest from admission to result, the slowest first."""
    frames = measured.latency.inferences
    usual = frames.group_by("generation").agg(pl.col("total_ns").median().alias("usual_ns"))
    slowest = frames.join(usual, on="generation").top_k(count, by="total_ns")
    spent = measured.latency.places.unpivot(
        [f"{part}_ns" for part in PARTS],
        index=["generation", "sequence", "order", "place"],
        variable_name="part",
        value_name="spent_ns",
    )
    usually = spent.group_by("generation", "order", "part").agg(
        pl.col("spent_ns").median().alias("usually_ns")
    )
    why = (
        spent.join(slowest.select("generation", "sequence"), on=["generation", "sequence"])
        .join(usually, on=["generation", "order", "part"])
        .with_columns(more_ns=pl.col("spent_ns") - pl.col("usually_ns"))
        .sort("more_ns", descending=True)
        .unique(["generation", "sequence"], keep="first", maintain_order=True)
    )
    rows = slowest.join(why, on=["generation", "sequence"]).sort("total_ns", descending=True)
    return [
        SlowFrame(
            generation=row["generation"],
            sequence=row["sequence"],
            admitted_s=(row["t_admitted_ns"] - measured.run.begin_ns) / 1e9,
            total_ms=row["total_ns"] / 1e6,
            usual_ms=row["usual_ns"] / 1e6,
            place=row["place"],
            part=row["part"].removesuffix("_ns"),
            spent_ms=row["spent_ns"] / 1e6,
            usually_ms=row["usually_ns"] / 1e6,
        )
        for row in rows.iter_rows(named=True)
    ]


def _both_ends(wire: CapturedStreams, flow: Flow) -> list[tuple[Stream, float | None]]:
    """The connections of a flow that carried payload, as their sender's captures saw them."""
    found: dict[int, tuple[Stream, float | None]] = {}
    for interface in wire.interfaces:
        for seen in wire.streams_at(interface).get(flow, []):
            ends = wire.two_ends(flow, seen.first_ns)
            if ends and ends.sender.payload_bytes:
                goodput_mbit = flow_figures(ends.receiver).goodput_mbit
                found.setdefault(id(ends.sender), (ends.sender, goodput_mbit))
    return list(found.values())


def _names(measured: Measured) -> dict[frozenset[Flow], str]:
    """Purposes of the connections."""
    names = {}
    for pipeline in measured.pipelines:
        ends = pipeline.frames.select("cut", "local_ip", "local_port", "peer_ip", "peer_port")
        for cut, *flow in ends.unique().iter_rows():
            names[_either_way(Flow(*flow))] = f"{pipeline.title} cut {cut}".strip()
    for transfer in measured.transfers:
        names[_either_way(transfer.ends.flow)] = transfer.event.model
    return names


def _either_way(flow: Flow) -> frozenset[Flow]:
    return frozenset((flow, flow.reverse))
