"""The figures of a flow, one direction of a TCP connection, as one capture shows them."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.tcp.flight import bytes_in_flight, sack_blocks, zero_windows
from analysis.tcp.rtt import rtt_from_acks, rtt_from_timestamps
from analysis.tcp.segment_kinds import SegmentKind, SegmentKinds
from analysis.tcp.streams import NEVER, Flow, Stream


@dataclass(frozen=True)
class RttFigures:
    """Round-trip times in milliseconds; ``samples`` of them."""

    samples: int
    min_ms: float
    median_ms: float
    p95_ms: float
    max_ms: float


@dataclass(frozen=True)
class FlowFigures:
    """One flow, in numbers.

    ``packets`` and ``wire_bytes`` count all that was sent this way, acknowledgements too;
    ``payload_bytes`` without repetitions, ``repeated_bytes`` the repetitions, which
    ``repeated_segments`` carried: what was sent again, in the sender's capture.
    ``retransmissions`` (all sorts, ``fast`` and ``spurious`` among them) and ``out_of_order`` are
    segments, after Wireshark's rules (:mod:`analysis.tcp.segment_kinds`). ``duplicate_acks``,
    ``sack_blocks`` and the zero windows are what the receiver sent back. ``rtt`` leaves out what
    Karn's rule forbids. ``goodput_mbit``: from the first data segment until all was readable.
    """

    flow: Flow
    begin_ns: int
    end_ns: int
    packets: int
    wire_bytes: int
    payload_bytes: int
    repeated_bytes: int
    repeated_segments: int
    retransmissions: int
    fast_retransmissions: int
    spurious_retransmissions: int
    out_of_order: int
    duplicate_acks: int
    sack_blocks: int
    duplicate_sack_blocks: int
    zero_windows: int
    zero_window_ms: float
    max_flight_bytes: int
    goodput_mbit: float | None
    rtt: RttFigures | None
    rtt_from_timestamps: RttFigures | None


def flow_figures(stream: Stream) -> FlowFigures:
    """All figures of a stream; ask the sender's capture for RTT and flight."""
    sent, kinds = stream.sent, SegmentKinds(stream)
    blocks, closed = sack_blocks(stream), zero_windows(stream)
    acks = rtt_from_acks(stream).filter(~pl.col("is_ambiguous"))
    end_ns = int(max(sent.t_ns.max(initial=0), stream.returned.t_ns.max(initial=0)))
    shut_ns = int((closed["end_ns"].fill_null(end_ns) - closed["begin_ns"]).sum())
    return FlowFigures(
        flow=stream.flow,
        begin_ns=stream.first_ns,
        end_ns=end_ns,
        packets=len(sent),
        wire_bytes=int(sent.wirelen.sum()),
        payload_bytes=stream.payload_bytes,
        repeated_bytes=int(stream.repeated_bytes.sum()),
        repeated_segments=int((stream.repeated_bytes > 0).sum()),
        retransmissions=int(kinds.is_retransmission.sum()),
        fast_retransmissions=int((kinds.kind == SegmentKind.FAST_RETRANSMISSION).sum()),
        spurious_retransmissions=int((kinds.kind == SegmentKind.SPURIOUS_RETRANSMISSION).sum()),
        out_of_order=int(kinds.is_out_of_order.sum()),
        duplicate_acks=int(SegmentKinds(stream.mirrored).is_duplicate_ack.sum()),
        sack_blocks=blocks.height,
        duplicate_sack_blocks=int(blocks["is_duplicate"].sum()),
        zero_windows=closed.height,
        zero_window_ms=shut_ns / 1e6,
        max_flight_bytes=int(bytes_in_flight(stream)["flight_bytes"].to_numpy().max(initial=0)),
        goodput_mbit=_goodput_mbit(stream),
        rtt=_rtt(acks),
        rtt_from_timestamps=_rtt(rtt_from_timestamps(stream)),
    )


def _goodput_mbit(stream: Stream) -> float | None:
    done = stream.coverage.complete_ns
    done = done[done != NEVER]
    if not len(done) or done[-1] == stream.t_ns[0]:
        return None
    readable = int(stream.coverage.edges[len(done)])
    return readable * 8e3 / float(done[-1] - stream.t_ns[0])


def _rtt(samples: pl.DataFrame) -> RttFigures | None:
    if not samples.height:
        return None
    ms = samples["rtt_ns"].to_numpy() / 1e6
    quantiles = (float(np.quantile(ms, q)) for q in (0, 0.5, 0.95, 1))
    return RttFigures(samples.height, *quantiles)
