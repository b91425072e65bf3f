"""Accordion: how long each prefix took on the wire, and what it made able to run, when."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import polars as pl

from analysis.metrics.delivery.deliveries import (
    deadline_requests,
    initial_windows,
    injected_faults,
    refusals,
    step_downs,
    ue_deliveries,
)
from analysis.metrics.delivery.transfers import (
    Transfer,
    addresses,
    delivered,
    expected_transfer,
    first_evaluations,
)
from analysis.run.reader import Run
from analysis.summary.accordion import Accordion, ConfigurationFigures, DownloadSummary
from analysis.summary.section import Accuracy
from analysis.tcp.connections import CapturedStreams, TwoEnds
from analysis.tcp.streams import NEVER
from stage_node.records.events import (
    Admitted,
    ConfigurationReady,
    DownloadEnded,
    ModelRequested,
)
from stage_node.records.line.transfer_time import transfer_mbit

EventT = TypeVar("EventT", ModelRequested, Admitted)

DELIVERY_SCHEMA: dict[str, type[pl.DataType]] = {
    "ue": pl.String,
    "model": pl.String,
    "t_s": pl.Float64,
    "file_bytes": pl.Int64,
}
"""How much of the file each UE had when: after the first SYN for the model, UE's capture."""


def find_transfers(run: Run, wire: CapturedStreams) -> tuple[tuple[Transfer, ...], tuple[str, ...]]:
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
    """Downloads and configurations; None if nothing was ever requested."""
    if not run.events_of(ModelRequested) and not run.events_of(DownloadEnded):
        return None
    begins = _begins(transfers)
    requests = deadline_requests(run, transfers)
    return Accordion(
        downloads=tuple(_download(run, transfer, begins) for transfer in transfers),
        configurations=_configurations(run, transfers, begins),
        requests=requests,
        ues=ue_deliveries(requests),
        refusals=refusals(run),
        step_downs=step_downs(run),
        initial_windows=initial_windows(run),
        faults=injected_faults(run),
    )


def delivery(transfers: tuple[Transfer, ...]) -> pl.DataFrame:
    """The file's growth at each UE in its first round, columns of ``DELIVERY_SCHEMA``."""
    begins = _begins(transfers)
    parts = [pl.DataFrame(schema=DELIVERY_SCHEMA)]
    for transfer in transfers:
        event, coverage = transfer.event, transfer.ends.receiver.coverage
        if event.round:
            continue
        # One row per moment: the last edge complete by then.
        moments, last = np.unique(coverage.complete_ns[::-1], return_index=True)
        edges = coverage.edges[1:][::-1][last] - transfer.header_bytes
        zero_ns = begins[event.who, event.model, event.round]
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


def _stream(run: Run, wire: CapturedStreams, event: DownloadEnded) -> TwoEnds | None:
    """The response's stream: to the UE's port, from the server's."""
    ours = addresses(run, event.who)
    ports = (event.server_port, event.local_port)
    flows = (f for f in wire.flows if (f.sport, f.dport) == ports and f.dst in ours)
    found = (wire.two_ends(flow, event.t_ns) for flow in flows)
    return next((ends for ends in found if ends is not None), None)


def _begins(transfers: tuple[Transfer, ...]) -> dict[tuple[str, str, int], int]:
    """First SYN per UE, model and round: zero of the time axes."""
    begins: dict[tuple[str, str, int], int] = {}
    for transfer in transfers:
        key = (transfer.event.who, transfer.event.model, transfer.event.round)
        begins[key] = min(begins.get(key, NEVER), transfer.begin_ns)
    return begins


def _download(
    run: Run, transfer: Transfer, begins: dict[tuple[str, str, int], int]
) -> DownloadSummary:
    event, stream = transfer.event, transfer.ends.receiver
    names = {event.who, *addresses(run, event.who)}  # the server knows the UE by its address
    place = (event.who, event.round, event.step)
    asked = [
        request
        for request in run.events_of(ModelRequested)
        if (request.who, request.round, request.step) == place and request.t_ns <= event.t_ns
    ]
    request = asked[-1] if asked else None
    plain = request is not None and request.admission == "none"
    answers = [] if plain else [a for a in run.events_of(Admitted) if a.ue in names]
    admitted = _last(answers, event)
    duration_ms = (transfer.end_ns - transfer.begin_ns) / 1e6
    size = stream.payload_bytes
    expected = expected_transfer(run, transfer)
    deadline_ms = request.deadline_ms if request and event.attempt == 1 else None
    return DownloadSummary(
        ue=event.who,
        round=event.round,
        step=event.step,
        attempt=event.attempt,
        outcome=event.outcome,
        admission=admitted.admission if admitted else None,
        estimate_mbit=admitted.estimate_mbit if admitted else None,
        estimate_source=admitted.estimate_source if admitted else None,
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
        begin_s=(transfer.begin_ns - begins[event.who, event.model, event.round]) / 1e9,
        duration_ms=duration_ms,
        deadline_met=None if deadline_ms is None else duration_ms <= deadline_ms,
        goodput_mbit=transfer_mbit(size, duration_ms),
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


def _configurations(
    run: Run, transfers: tuple[Transfer, ...], begins: dict[tuple[str, str, int], int]
) -> tuple[ConfigurationFigures, ...]:
    evaluated = first_evaluations(run)
    figures = []
    for ready in run.events_of(ConfigurationReady):
        if ready.round:
            continue
        zero_ns = begins.get((ready.who, ready.model, 0))
        if zero_ns is None:
            continue
        ran = evaluated.get((ready.who, 0, ready.configuration))
        delivered_ns = delivered(ready, transfers)
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
