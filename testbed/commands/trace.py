"""`concertina trace`: what the captures of a run say, every figure whole at any width."""

from pathlib import Path

from rich.console import Console

from analysis.metrics.links.link_changes import changed_links, download_key
from analysis.metrics.measure import Measured, MeasuredPipeline, measure
from analysis.run.reader import read_run
from analysis.summary.pipeline import Breakdown
from analysis.trace.packet_table import packet_table, write_packets
from analysis.trace.trace import slowest_frames, traced_flows
from analysis.wording import counted, number, percent
from testbed.run.text_table import TextTable, print_table

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
    packets = number(summary.captured_packets)
    verdict = summary.fidelity.verdict
    _line(console, f"{summary.name}: fidelity {verdict}, {packets} packets captured")
    if summary.failure:
        _line(console, f"the run failed: {summary.failure}")
    for problem in summary.problems:
        _line(console, f"  {problem}", style="red")
    served = [part for pipeline in measured.pipelines for part in _frames(pipeline, frames)]
    for part in (_flows(measured), *(served or [NO_PIPELINE]), _downloads(measured)):
        if isinstance(part, TextTable):
            print_table(part, console)
        else:
            _line(console, part)
    if packets_to is not None:
        write_packets(packet_table(measured.run, measured.wire), packets_to)
        _line(console, f"{packets} packets in {packets_to}")
    return 1 if summary.problems else 0


def _line(console: Console, text: str, style: str = "") -> None:
    """Print text that the terminal may wrap, but that nothing cuts, a number least of all."""
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def _flows(measured: Measured) -> TextTable | str:
    flows = traced_flows(measured)
    if not flows:
        return "\nNo TCP connection carried anything over the emulated links."
    left_out = "" if len(flows) <= FLOWS_SHOWN else f", the {FLOWS_SHOWN} largest of {len(flows)}"
    return TextTable(
        f"Flows{left_out}: payload and what was sent again, in the sender's capture",
        ("flow", "carries", "packets", "kB", "kB again", "dup ACKs", "RTT ms", "95 %", "Mbit/s"),
        tuple(
            (
                f"{flow.source}:{flow.figures.flow.sport} → {flow.target}",
                flow.what,
                number(flow.figures.packets),
                number(flow.figures.payload_bytes / 1e3, 1),
                number(flow.figures.repeated_bytes / 1e3, 1),
                number(flow.figures.duplicate_acks),
                number(flow.figures.rtt.median_ms if flow.figures.rtt else None, 1),
                number(flow.figures.rtt.p95_ms if flow.figures.rtt else None, 1),
                number(flow.goodput_mbit, 2),
            )
            for flow in flows[:FLOWS_SHOWN]
        ),
        texts=(0, 1),
    )


def _frames(measured: MeasuredPipeline, count: int) -> list[TextTable | str]:
    pipeline = measured.figures
    heading = [f"\nPipeline {measured.title}:"] if measured.title else []
    if pipeline.breakdown is None:
        unknown = "\nWhere the frames' time went is not known: no frame was measured everywhere."
        return [*heading, unknown]
    windows = [(w.label, w.breakdown) for w in pipeline.windows if w.breakdown]
    tables: list[TextTable | str] = [
        _parts(f"{label} compression", parts) for label, parts in windows
    ]
    return [
        *heading,
        *(tables or [_parts("all frames", pipeline.breakdown)]),
        _closing(pipeline.breakdown),
        _slowest(measured, count),
    ]


def _parts(name: str, breakdown: Breakdown) -> TextTable:
    places = [
        (
            *(p.compute_ms, p.serialisation_ms, p.queueing_ms, p.propagation_ms, p.transport_ms),
            p.total_ms,
        )
        for p in breakdown.places
    ]
    rows = [
        (part.place, *(number(ms, 1) if ms else "" for ms in row))
        for part, row in zip(breakdown.places, places, strict=True)
    ]
    rows.append(("all", *(number(sum(ms), 1) for ms in zip(*places, strict=True))))
    return TextTable(
        f"Where a frame's time went, {name}: mean ms of {counted(breakdown.frames, 'frame')}",
        (
            *("place", "compute", "serialisation", "queueing", "propagation", "waiting for TCP"),
            "total",
        ),
        tuple(rows),
    )


def _closing(breakdown: Breakdown) -> str:
    return (
        f"The parts add up to the end-to-end time within 1 % for "
        f"{percent(breakdown.closed_share)} of {counted(breakdown.frames, 'frame')}; "
        f"worst {percent(breakdown.worst_error, 2)}."
    )


def _slowest(measured: MeasuredPipeline, count: int) -> TextTable:
    names = {"transport": "waiting for TCP"}
    return TextTable(
        "Slowest frames, and where each was furthest above the median of its generation",
        ("frame", "gen.", "at s", "took ms", "usual", "because of", "where", "ms", "usually"),
        tuple(
            (
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
            for frame in slowest_frames(measured, count)
        ),
        texts=(5, 6),
    )


def _downloads(measured: Measured) -> TextTable | str:
    accordion = measured.summary.accordion
    if accordion is None:
        return "\nNo model was delivered in this run."
    changed = changed_links(measured.run, measured.transfers)
    return TextTable(
        "Downloads"
        + (
            "; *: a link changed meanwhile, the least time is for the link as probed"
            if any(changed.values())
            else ""
        ),
        (
            *("UE", "model", "kB of the file", "took ms", "least ms", "above it", "deadline ms"),
            *("Mbit/s", "kB again"),
        ),
        tuple(
            (
                download.ue,
                download.model,
                f"{number(download.first_byte / 1e3, 1)} to {number(download.end_byte / 1e3, 1)}",
                number(download.duration_ms, 1),
                number(download.expected.total_ms if download.expected else None, 1),
                percent(download.excess) + (" *" if changed.get(download_key(download)) else ""),
                number(download.deadline_ms)
                + ("" if download.deadline_met is not False else " missed"),
                number(download.goodput_mbit, 2),
                number(download.retransmitted_bytes / 1e3, 1),
            )
            for download in accordion.downloads
        ),
        texts=(0, 1),
    )
