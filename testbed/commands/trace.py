"""`concertina trace`: what the captures of a run say, on a hundred columns."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from analysis.metrics.measure import Measured, MeasuredPipeline, measure
from analysis.run.reader import read_run
from analysis.summary import Summary
from analysis.summary.pipeline import Breakdown
from analysis.trace.packet_table import packet_table, write_packets
from analysis.trace.trace import slowest_frames, traced_flows
from analysis.wording import number, percent

WIDTH = 100
FLOWS_SHOWN = 12
NO_PIPELINE = "\nNo split model served in this run."


def show_trace(
    directory: Path, frames: int, console: Console, packets_to: Path | None = None
) -> int:
    """Print flows, break-down, the slowest frames and downloads; 1 where records are damaged.

    Every captured packet is written to ``packets_to``, where that is given. Raises
    ``NotARunError`` where there is no run.
    """
    measured = measure(read_run(directory))
    summary = measured.summary
    console.width = min(console.width, WIDTH)
    packets = number(summary.captured_packets)
    verdict = summary.fidelity.verdict
    console.print(f"{summary.name}: fidelity {verdict}, {packets} packets captured")
    if summary.failure:
        console.print(f"the run failed: {summary.failure}", highlight=False, markup=False)
    for problem in summary.problems:
        console.print(f"  {problem}", style="red", highlight=False, markup=False)
    served = [part for pipeline in measured.pipelines for part in _frames(pipeline, frames)]
    for part in (_flows(measured), *(served or [NO_PIPELINE]), _downloads(summary)):
        console.print(part, highlight=False)
    if packets_to is not None:
        write_packets(packet_table(measured.run, measured.wire), packets_to)
        console.print(f"{packets} packets in {packets_to}", highlight=False, markup=False)
    return 1 if summary.problems else 0


def _table(title: str, *columns: str) -> Table:
    """Columns that begin with ``<`` hold text: they are cut short where the width is not enough."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        if column.startswith("<"):
            table.add_column(column[1:], no_wrap=True, overflow="ellipsis", max_width=22)
        else:
            table.add_column(column, justify="right", no_wrap=True, min_width=max(len(column), 6))
    return table


def _flows(measured: Measured) -> Table | str:
    flows = traced_flows(measured)
    if not flows:
        return "\nNo TCP connection carried anything over the emulated links."
    left_out = "" if len(flows) <= FLOWS_SHOWN else f", the {FLOWS_SHOWN} largest of {len(flows)}"
    table = _table(
        f"\nFlows{left_out}: payload and what was sent again, in the sender's capture",
        *("<flow", "<carries", "packets", "kB", "kB again", "dup ACKs"),
        *("RTT ms", "95 %", "Mbit/s"),
    )
    for flow in flows[:FLOWS_SHOWN]:
        figures = flow.figures
        table.add_row(
            f"{flow.source}:{figures.flow.sport} → {flow.target}",
            flow.what,
            number(figures.packets),
            number(figures.payload_bytes / 1e3, 1),
            number(figures.repeated_bytes / 1e3, 1),
            number(figures.duplicate_acks),
            number(figures.rtt.median_ms if figures.rtt else None, 1),
            number(figures.rtt.p95_ms if figures.rtt else None, 1),
            number(flow.goodput_mbit, 2),
        )
    return table


def _frames(measured: MeasuredPipeline, count: int) -> list[Table | str]:
    pipeline = measured.figures
    heading = [f"\nPipeline {measured.title}:"] if measured.title else []
    if pipeline.breakdown is None:
        unknown = "\nWhere the frames' time went is not known: no frame was measured everywhere."
        return [*heading, unknown]
    windows = [(w.label, w.breakdown) for w in pipeline.windows if w.breakdown]
    tables = [_parts(f"{label} compression", parts) for label, parts in windows]
    return [
        *heading,
        *(tables or [_parts("all frames", pipeline.breakdown)]),
        _closing(pipeline.breakdown),
        _slowest(measured, count),
    ]


def _parts(name: str, breakdown: Breakdown) -> Table:
    table = _table(
        f"\nWhere a frame's time went, {name}: mean ms of {number(breakdown.frames)} frames",
        *("<place", "compute", "serialisation", "queueing", "propagation", "waiting for TCP"),
        "total",
    )
    columns = [
        [
            *(p.compute_ms, p.serialisation_ms, p.queueing_ms, p.propagation_ms, p.transport_ms),
            p.total_ms,
        ]
        for p in breakdown.places
    ]
    for place, row in zip(breakdown.places, columns, strict=True):
        table.add_row(place.place, *(number(ms, 1) if ms else "" for ms in row))
    table.add_row("all", *(number(sum(ms), 1) for ms in zip(*columns, strict=True)), style="bold")
    return table


def _closing(breakdown: Breakdown) -> str:
    return (
        f"The parts add up to the end-to-end time within 1 % for "
        f"{percent(breakdown.closed_share)} of {number(breakdown.frames)} frames; "
        f"worst {percent(breakdown.worst_error, 2)}."
    )


def _slowest(measured: MeasuredPipeline, count: int) -> Table:
    table = _table(
        "\nSlowest frames, and where each was furthest above the median of its generation",
        *("frame", "gen.", "at s", "took ms", "usual", "<because of", "<where", "ms", "usually"),
    )
    names = {"transport": "waiting for TCP"}
    for frame in slowest_frames(measured, count):
        table.add_row(
            number(frame.sequence),
            number(frame.generation),
            number(frame.admitted_s, 2),
            number(frame.total_ms, 1),
            number(frame.usual_ms, 1),
            names.get(frame.part, frame.part),
            frame.place,
            number(frame.spent_ms, 1),
            number(frame.usually_ms, 1),
        )
    return table


def _downloads(summary: Summary) -> Table | str:
    if summary.accordion is None:
        return "\nNo model was delivered in this run."
    table = _table(
        "\nDownloads",
        *("<UE", "<model", "kB of the file", "took ms", "least ms", "excess", "deadline ms"),
        *("Mbit/s", "kB again"),
    )
    for download in summary.accordion.downloads:
        late = "" if download.deadline_met is not False else " missed"
        table.add_row(
            download.ue,
            download.model,
            f"{number(download.first_byte / 1e3, 1)} to {number(download.end_byte / 1e3, 1)}",
            number(download.duration_ms, 1),
            number(download.expected.total_ms if download.expected else None, 1),
            percent(download.excess),
            number(download.deadline_ms) + late,
            number(download.goodput_mbit, 2),
            number(download.retransmitted_bytes / 1e3, 1),
        )
    return table
