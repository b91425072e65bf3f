"""The two baselines of every split: the raw input sent instead, and the uncompressed split."""

from analysis.metrics.links.throughput import Links
from analysis.run.reader import Run
from analysis.summary.pipeline import Window
from analysis.summary.traffic import Against, Baselines, CutTraffic
from stage_node.records.line.transfer_time import transfer_ms


def baselines(
    run: Run, links: Links, windows: tuple[Window, ...], cuts: int, raw_input_bytes: int
) -> Baselines | None:
    """Every connection beside its baselines; None unless every window has every cut."""
    by_label = {window.label: window.cuts for window in reversed(windows)}
    before, after = by_label.get("before", ()), by_label.get("after")
    if len(before) != cuts or (after is not None and len(after) != cuts):
        return None
    connections = tuple(
        _against(raw_input_bytes, _raw_ms(run, links, b, raw_input_bytes), b, a)
        for b, a in zip(before, after or [None] * cuts, strict=True)
    )
    return Baselines(connections=connections, total=_total(connections))


def _against(
    raw_bytes: int, raw_ms: float | None, before: CutTraffic, after: CutTraffic | None
) -> Against:
    return Against(
        raw_input_bytes=raw_bytes,
        uncompressed_bytes=before.payload_bytes,
        compressed_bytes=after.payload_bytes if after else None,
        uncompressed_is_loss=before.payload_bytes > raw_bytes,
        compressed_is_loss=after.payload_bytes > raw_bytes if after else None,
        raw_input_ms=raw_ms,
        uncompressed_ms=_median_ms(before),
        compressed_ms=_median_ms(after) if after else None,
    )


def _median_ms(cut: CutTraffic) -> float | None:
    return cut.transfer.median_ms if cut.transfer else None


def _raw_ms(run: Run, links: Links, cut: CutTraffic, raw_bytes: int) -> float | None:
    """A frame of as many raw inputs, by what the probe saw of the path."""
    path = run.network.path(cut.source, cut.target)
    goodputs = dict(zip(links.directions, links.goodput_mbit, strict=True))
    known_mbit = [goodput for step in path if (goodput := goodputs[step])]
    rtts_ms = [rtt for step in path if (rtt := run.fidelity.rtt_ms(step.link)) is not None]
    if not path or len(known_mbit) < len(path) or len(rtts_ms) < len(path):
        return None
    frame_bytes = raw_bytes * cut.inferences / cut.frames
    return transfer_ms(frame_bytes, min(known_mbit), delay_ms=sum(rtts_ms) / 2)


def _total(connections: tuple[Against, ...]) -> Against:
    def total(name: str) -> float | None:
        """The sum of a figure over all connections; None if one lacks it."""
        values = [getattr(connection, name) for connection in connections]
        return None if None in values else sum(values)

    raw, uncompressed = total("raw_input_bytes") or 0.0, total("uncompressed_bytes") or 0.0
    compressed = total("compressed_bytes")
    return Against(
        raw_input_bytes=raw,
        uncompressed_bytes=uncompressed,
        compressed_bytes=compressed,
        uncompressed_is_loss=uncompressed > raw,
        compressed_is_loss=None if compressed is None else compressed > raw,
        raw_input_ms=total("raw_input_ms"),
        uncompressed_ms=total("uncompressed_ms"),
        compressed_ms=total("compressed_ms"),
    )
