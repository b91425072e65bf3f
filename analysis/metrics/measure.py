"""Everything that is measured of a run, before anything is drawn."""

from dataclasses import dataclass

import polars as pl

from analysis.metrics.delivery.blocks import block_figures, blocks
from analysis.metrics.delivery.downloads import accordion_figures, find_transfers
from analysis.metrics.delivery.transfers import Transfer
from analysis.metrics.links.pace import Pace, paces
from analysis.metrics.links.throughput import Links, link_traffic
from analysis.metrics.pipeline.breakdown import Latency, latency
from analysis.metrics.pipeline.control import replay_figures
from analysis.metrics.pipeline.windows import pipeline_figures
from analysis.run.computing import computing_summary
from analysis.run.network import LinkDirection
from analysis.run.pipeline_view import of_hosts, partition_of, pipeline_views
from analysis.run.reader import Run
from analysis.summary import Summary
from analysis.summary.network import FidelitySummary, LinkTraffic
from analysis.summary.pipeline import PipelineSummary
from analysis.tcp.connections import CapturedStreams
from analysis.tcp.join import join_frames
from stage_node.records.events import LONE_PIPELINE, TOGETHER, Phase

RECONCILED = 0.01
"""Captures and the kernel's counters begin and end a moment apart; more than this is a problem."""


@dataclass(frozen=True)
class MeasuredPipeline:
    """A pipeline's figures, and the tables they came from; ``run`` is its view of the run."""

    run: Run
    wire: CapturedStreams
    frames: pl.DataFrame
    latency: Latency
    figures: PipelineSummary

    @property
    def title(self) -> str:
        """Its name where there are others; nothing where it stands alone."""
        return "" if self.figures.name == LONE_PIPELINE else self.figures.name


@dataclass(frozen=True)
class Measured:
    """A run's figures, and the tables they came from; ``frames`` are of all pipelines."""

    run: Run
    wire: CapturedStreams
    frames: pl.DataFrame
    pipelines: tuple[MeasuredPipeline, ...]
    blocks: pl.DataFrame
    links: Links
    paces: dict[LinkDirection, Pace]
    throughput: pl.DataFrame
    transfers: tuple[Transfer, ...]
    summary: Summary


def measure(run: Run) -> Measured:
    """Join the ledger with the captures and compute the summary."""
    wire, links = CapturedStreams(run), Links.of(run)
    frames, unjoined = join_frames(run, wire)
    transfers, unfound = find_transfers(run, wire)
    known = paces(run, links)
    pipelines = tuple(_pipeline(view, frames, wire, links, known) for view in pipeline_views(run))
    carried = blocks(run, transfers)
    throughput = links.throughput(run.begin_ns)
    accordion = accordion_figures(run, transfers)
    if accordion:
        figures = block_figures(carried, transfers)
        accordion = accordion.model_copy(update={"blocks": figures})
    traffic = link_traffic(run, links, throughput)
    summary = Summary(
        name=run.name,
        failure=run.failure,
        fidelity=_fidelity(run, traffic),
        computing=computing_summary(run.computing) if run.computing else None,
        problems=(*run.problems, *unjoined, *unfound, *_disagreements(traffic)),
        captured_packets=sum(packets.height for packets in run.captures.values()),
        links=traffic,
        replays=replay_figures(run),
        together=any(phase.phase == TOGETHER for phase in run.events_of(Phase)),
        pipelines=tuple(pipeline.figures for pipeline in pipelines),
        accordion=accordion,
    )
    return Measured(
        run=run,
        wire=wire,
        frames=frames,
        pipelines=pipelines,
        blocks=carried,
        links=links,
        paces=known,
        throughput=throughput,
        transfers=transfers,
        summary=summary,
    )


def _pipeline(
    view: Run,
    frames: pl.DataFrame,
    wire: CapturedStreams,
    links: Links,
    known: dict[LinkDirection, Pace],
) -> MeasuredPipeline:
    mine = of_hosts(frames, partition_of(view).hosts)
    spent = latency(view, mine, wire, known)
    return MeasuredPipeline(view, wire, mine, spent, pipeline_figures(view, mine, links, spent))


def _disagreements(traffic: tuple[LinkTraffic, ...]) -> list[str]:
    return [
        f"link {link.link} {link.direction}: the receiver's capture has "
        f"{link.received_wire_bytes} bytes, the kernel sent {link.qdisc_sent_bytes}: "
        f"{link.qdisc_difference:+.1%}, and more than {RECONCILED:.0%} cannot be accounted for"
        for link in traffic
        if link.qdisc_difference is not None and abs(link.qdisc_difference) > RECONCILED
    ]


def _fidelity(run: Run, traffic: tuple[LinkTraffic, ...]) -> FidelitySummary:
    record = run.fidelity
    goodput = [abs(p.goodput_error) for p in record.links if p.goodput_error is not None]
    rtt = [abs(p.rtt_min_ms - p.expected_ms) for p in record.rtt if p.rtt_min_ms is not None]
    lost = [counters.missing for counters in run.capture_counters]
    return FidelitySummary(
        verdict=record.verdict,
        clock=record.clock,
        reasons=record.reasons,
        goodput_error_max=max(goodput, default=None),
        rtt_error_ms_max=max(rtt, default=None),
        capture_dropped_packets=sum(lost) if lost else None,
        qdisc_difference_max=max(
            (abs(t.qdisc_difference) for t in traffic if t.qdisc_difference is not None),
            default=None,
        ),
        cpu_idle_min_share=record.cpu_idle.per_second_min_share if record.cpu_idle else None,
        cpu_idle_seconds=record.cpu_idle.seconds if record.cpu_idle else None,
        paused_share=record.pauses.share if record.pauses else None,
        paused_ms_longest=record.pauses.longest_ms if record.pauses else None,
    )
