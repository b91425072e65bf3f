"""Accordion: how long each prefix took on the wire, and what it made able to run, when."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl

from analysis.rundir import Run
from analysis.streams import NEVER
from analysis.summary import (
    Accordion,
    Accuracy,
    ConfigurationFigures,
    Download,
    ExpectedDownload,
)
from analysis.wire import TwoEnds, Wire
from stage_node.events import (
    Admitted,
    ConfigurationEvaluated,
    ConfigurationReady,
    DownloadEnded,
    ModelRequested,
)

EventT = TypeVar("EventT", ModelRequested, Admitted)

INITIAL_WINDOW_SEGMENTS = 10
"""RFC 6928, Linux's default."""

DELIVERY_SCHEMA: dict[str, type[pl.DataType]] = {
    "ue": pl.String,
    "model": pl.String,
    "t_s": pl.Float64,
    "file_bytes": pl.Int64,
}
"""How much of the file each UE had when: after the first SYN for the model, UE's capture."""


@dataclass(frozen=True)
class Transfer:
    """A download found in the captures."""

    event: DownloadEnded
    ends: TwoEnds
    request: TwoEnds | None

    @property
    def begin_ns(self) -> int:
        """The UE's first SYN."""
        return self.ends.receiver.syn_ns

    @property
    def end_ns(self) -> int:
        """The last payload byte at the UE, all bytes before it having come."""
        return int(self.ends.receiver.coverage.complete_ns[-1])

    @property
    def header_bytes(self) -> int:
        """HTTP header: what the response holds beside the part of the file."""
        return self.ends.receiver.payload_bytes - (self.event.end_byte - self.event.first_byte)


def find_transfers(run: Run, wire: Wire) -> tuple[tuple[Transfer, ...], tuple[str, ...]]:
    """The downloads that ended, each with its stream; and those that the captures lack."""
    transfers, problems = [], []
    for event in run.events_of(DownloadEnded):
        ends = _stream(run, wire, event)
        name = f"{event.who}: download of {event.model} from byte {event.first_byte}"
        if ends is None or ends.receiver.syn_ns == NEVER or ends.receiver.syn_ack_ns == NEVER:
            problems.append(f"{name}: its connection is not in the captures")
            continue
        transfer = Transfer(event, ends, wire.two_ends(ends.flow.reverse, event.t_ns))
        if not ends.receiver.payload_bytes or transfer.end_ns == NEVER:
            problems.append(f"{name}: the UE's capture lacks bytes of it")
        elif transfer.header_bytes < 0:
            problems.append(f"{name}: the UE's capture ends before it does")
        else:
            transfers.append(transfer)
    return tuple(transfers), tuple(problems)


def accordion_figures(run: Run, transfers: tuple[Transfer, ...]) -> Accordion | None:
    """Downloads and configurations; None where nothing was ever requested."""
    if not run.events_of(ModelRequested) and not run.events_of(DownloadEnded):
        return None
    begins = _begins(transfers)
    return Accordion(
        downloads=tuple(_download(run, transfer, begins) for transfer in transfers),
        configurations=_configurations(run, transfers, begins),
    )


def delivery(transfers: tuple[Transfer, ...]) -> pl.DataFrame:
    """The file's growth at each UE, columns of ``DELIVERY_SCHEMA``, in the order of time."""
    begins = _begins(transfers)
    parts = [pl.DataFrame(schema=DELIVERY_SCHEMA)]
    for transfer in transfers:
        event, coverage = transfer.event, transfer.ends.receiver.coverage
        # One row per moment: the last edge complete by then.
        moments, last = np.unique(coverage.complete_ns[::-1], return_index=True)
        edges = coverage.edges[1:][::-1][last] - transfer.header_bytes
        zero_ns = begins[event.who, event.model]
        begin = np.array([transfer.begin_ns], np.int64)
        times = (np.concatenate([begin, moments]) - zero_ns) / 1e9
        sizes = event.first_byte + np.concatenate([[0], np.maximum(edges, 0)])
        parts.append(
            pl.DataFrame(
                {
                    "ue": [event.who] * len(times),
                    "model": [event.model] * len(times),
                    "t_s": times,
                    "file_bytes": sizes.astype(np.int64),
                },
                schema=DELIVERY_SCHEMA,
            )
        )
    return pl.concat(parts)


def expected_download(
    size_bytes: int, segment_bytes: int, goodput_mbit: float, rtt_ms: float
) -> ExpectedDownload:
    """The least time for a request and a response of ``size_bytes``; see ``ExpectedDownload``."""
    segment_ms = segment_bytes * 8e-3 / goodput_mbit
    idle_ms, sent, window = 0.0, 0, INITIAL_WINDOW_SEGMENTS
    while sent + window * segment_bytes < size_bytes:
        # The first acknowledgement opens the window a round trip after the round's first segment.
        idle = rtt_ms - (window - 1) * segment_ms
        if idle <= 0:
            break
        idle_ms += idle
        sent += window * segment_bytes
        window *= 2
    payload_ms = size_bytes * 8e-3 / goodput_mbit
    return ExpectedDownload(
        handshake_ms=rtt_ms,
        request_ms=rtt_ms,
        slow_start_ms=idle_ms,
        payload_ms=payload_ms,
        total_ms=2 * rtt_ms + idle_ms + payload_ms,
    )


def _stream(run: Run, wire: Wire, event: DownloadEnded) -> TwoEnds | None:
    """The response's stream: to the UE's port, from the server's."""
    addresses = _addresses(run, event.who)
    ports = (event.server_port, event.local_port)
    flows = (f for f in wire.flows if (f.sport, f.dport) == ports and f.dst in addresses)
    found = (wire.two_ends(flow, event.t_ns) for flow in flows)
    return next((ends for ends in found if ends is not None), None)


def _addresses(run: Run, host: str) -> set[str]:
    return set(run.network.hosts[host].interfaces.values()) if host in run.network.hosts else set()


def _begins(transfers: tuple[Transfer, ...]) -> dict[tuple[str, str], int]:
    """First SYN per UE and model: zero of the time axes."""
    begins: dict[tuple[str, str], int] = {}
    for transfer in transfers:
        key = (transfer.event.who, transfer.event.model)
        begins[key] = min(begins.get(key, NEVER), transfer.begin_ns)
    return begins


def _download(run: Run, transfer: Transfer, begins: dict[tuple[str, str], int]) -> Download:
    event, stream = transfer.event, transfer.ends.receiver
    names = {event.who, *_addresses(run, event.who)}  # the server knows the UE by its address
    request = _last([r for r in run.events_of(ModelRequested) if r.who in names], event)
    admitted = _last([a for a in run.events_of(Admitted) if a.ue in names], event)
    duration_ms = (transfer.end_ns - transfer.begin_ns) / 1e6
    size = stream.payload_bytes
    expected = _expected(run, transfer)
    deadline_ms = request.deadline_ms if request else None
    return Download(
        ue=event.who,
        server=run.network.owner(transfer.ends.flow.src),
        model=event.model,
        deadline_ms=deadline_ms,
        wanted_accuracy=request.accuracy if request else None,
        configuration=admitted.configuration if admitted else None,
        admission_reason=admitted.reason if admitted else None,
        first_byte=event.first_byte,
        end_byte=event.end_byte,
        payload_bytes=size,
        wire_bytes=int(stream.wirelen.sum()),
        retransmitted_bytes=int(transfer.ends.sender.repeated_bytes.sum()),
        begin_s=(transfer.begin_ns - begins[event.who, event.model]) / 1e9,
        duration_ms=duration_ms,
        deadline_met=None if deadline_ms is None else duration_ms <= deadline_ms,
        goodput_mbit=size * 8e-3 / duration_ms,
        handshake_ms=(stream.syn_ack_ns - stream.syn_ns) / 1e6,
        server_ms=_server_ms(transfer),
        expected=expected,
        excess=duration_ms / expected.total_ms - 1 if expected else None,
    )


def _server_ms(transfer: Transfer) -> float | None:
    """From the request's last byte to the response's first, in the server's capture."""
    if transfer.request is None:
        return None
    arrived = transfer.request.receiver.coverage.complete_ns
    if not len(arrived) or arrived[-1] == NEVER:
        return None
    return float(transfer.ends.sender.t_ns[0] - arrived[-1]) / 1e6


def _last(events: Sequence[EventT], download: DownloadEnded) -> EventT | None:
    """The latest event that belongs to a download: same model, same first byte."""
    fitting = [
        event
        for event in events
        if (event.model, event.first_byte) == (download.model, download.first_byte)
        and event.t_ns <= download.t_ns
    ]
    return fitting[-1] if fitting else None


def _expected(run: Run, transfer: Transfer) -> ExpectedDownload | None:
    """From the probe alone: this connection's own handshake could excuse a slow download."""
    path = transfer.ends.path
    goodputs_mbit = [run.fidelity.goodput_mbit(s.link, s.direction) for s in path]
    rtts_ms = [run.fidelity.rtt_ms(s.link) for s in path]
    known_mbit = [goodput for goodput in goodputs_mbit if goodput]
    known_ms = [rtt for rtt in rtts_ms if rtt is not None]
    if not path or len(known_mbit) < len(path) or len(known_ms) < len(path):
        return None
    stream = transfer.ends.receiver
    segment_bytes = int((stream.end - stream.begin).max())
    return expected_download(stream.payload_bytes, segment_bytes, min(known_mbit), sum(known_ms))


def _configurations(
    run: Run, transfers: tuple[Transfer, ...], begins: dict[tuple[str, str], int]
) -> tuple[ConfigurationFigures, ...]:
    evaluated = {
        (e.who, e.model, e.configuration): e
        for e in reversed(run.events_of(ConfigurationEvaluated))
    }
    figures = []
    for ready in run.events_of(ConfigurationReady):
        zero_ns = begins.get((ready.who, ready.model))
        if zero_ns is None:
            continue
        ran = evaluated.get((ready.who, ready.model, ready.configuration))
        delivered_ns = _delivered_ns(ready, transfers)
        figures.append(
            ConfigurationFigures(
                ue=ready.who,
                model=ready.model,
                configuration=ready.configuration,
                file_bytes=ready.file_bytes,
                delivered_s=None if delivered_ns is None else (delivered_ns - zero_ns) / 1e9,
                ready_s=(ready.t_ns - zero_ns) / 1e9,
                usable_s=(ran.t_ns - zero_ns) / 1e9 if ran else None,
                accuracy=Accuracy(value=ran.accuracy, images=ran.samples, split=ran.split)
                if ran
                else None,
            )
        )
    return tuple(figures)


def _delivered_ns(ready: ConfigurationReady, transfers: tuple[Transfer, ...]) -> int | None:
    """When the configuration's last byte was at the UE, by its capture."""
    for transfer in transfers:
        event = transfer.event
        if (event.who, event.model) != (ready.who, ready.model):
            continue
        if event.first_byte < ready.file_bytes <= event.end_byte:
            offset = transfer.header_bytes + ready.file_bytes - event.first_byte
            return int(transfer.ends.receiver.time_delivered(np.array([offset]))[0])
    return None
