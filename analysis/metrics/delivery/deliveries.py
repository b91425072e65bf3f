"""Accordion: deadlines kept and missed, refusals, and what else happened to the UEs."""

from collections.abc import Iterable
from itertools import groupby
from statistics import median

from analysis.metrics.delivery.transfers import (
    Transfer,
    addresses,
    delivered,
    first_evaluations,
    probed_path,
)
from analysis.run.reader import Run
from analysis.summary.accordion import (
    DeadlineRequest,
    InitialWindow,
    InjectedFault,
    RefusalSummary,
    StepDown,
    UeDeliveries,
)
from analysis.summary.section import Accuracy
from stage_node.records.events import (
    ConfigurationReady,
    DownloadEnded,
    FaultInjected,
    ModelOffered,
    ModelRequested,
    SteppedDown,
    StepRefused,
    WindowOpened,
)

GOOD_SHARE = 0.95
"""A good answer has at least this share of the bytes that could have come by the deadline."""


def deadline_requests(run: Run, transfers: tuple[Transfer, ...]) -> tuple[DeadlineRequest, ...]:
    """Every request with a deadline, in the order of time."""
    return tuple(
        _deadline_request(run, request, transfers)
        for request in run.events_of(ModelRequested)
        if request.deadline_ms is not None
    )


def ue_deliveries(requests: Iterable[DeadlineRequest]) -> tuple[UeDeliveries, ...]:
    """Sums per UE and kind of admission."""

    def kind(request: DeadlineRequest) -> tuple[str, str]:
        return request.ue, request.admission

    groups = groupby(sorted(requests, key=kind), key=kind)
    return tuple(_together(ue, admission, list(group)) for (ue, admission), group in groups)


def refusals(run: Run) -> tuple[RefusalSummary, ...]:
    """Steps that came to nothing."""
    return tuple(
        RefusalSummary(ue=e.who, round=e.round, step=e.step, status=e.status, reason=e.reason)
        for e in run.events_of(StepRefused)
    )


def step_downs(run: Run) -> tuple[StepDown, ...]:
    """Changes of the running configuration without transfer."""
    evaluated = first_evaluations(run)
    figures = []
    for event in run.events_of(SteppedDown):
        ran = evaluated.get((event.who, event.round, event.configuration))
        accuracy = (
            Accuracy(value=ran.accuracy, images=ran.samples, split=ran.split) if ran else None
        )
        figures.append(
            StepDown(
                ue=event.who,
                configuration=event.configuration,
                macs=event.macs,
                accuracy=accuracy,
            )
        )
    return tuple(figures)


def initial_windows(run: Run) -> tuple[InitialWindow, ...]:
    """By UE: the window that the server begins with, and the least that the UE offered."""
    offered = dict[str, int]()
    for download in run.events_of(DownloadEnded):
        if (size := download.receive_window_bytes) is not None:
            offered[download.who] = min(size, offered.get(download.who, size))
    opened = {_host(run, event.ue): event.segments for event in run.events_of(WindowOpened)}
    return tuple(
        InitialWindow(ue=ue, segments=segments, receive_window_bytes=offered.get(ue))
        for ue, segments in opened.items()
    )


def injected_faults(run: Run) -> tuple[InjectedFault, ...]:
    """Faults that the server made on purpose."""
    return tuple(
        InjectedFault(ue=_host(run, e.ue), fault=e.fault, at_byte=e.at_byte)
        for e in run.events_of(FaultInjected)
    )


def _host(run: Run, address: str) -> str:
    return next((host for host in run.network.hosts if address in addresses(run, host)), address)


def _deadline_request(
    run: Run, request: ModelRequested, transfers: tuple[Transfer, ...]
) -> DeadlineRequest:
    assert request.deadline_ms is not None
    place = (request.who, request.round, request.step)
    mine = [t for t in transfers if (t.event.who, t.event.round, t.event.step) == place]
    refused = any((e.who, e.round, e.step) == place for e in run.events_of(StepRefused))
    offer = _offer(run, request.model)
    ready = [
        e
        for e in run.events_of(ConfigurationReady)
        if (e.who, e.round) == place[:2] and e.file_bytes > request.first_byte
    ]
    deadline_ns = mine[0].begin_ns + int(request.deadline_ms * 1e6) if mine else 0
    in_time = []
    for event in ready:
        at_ns = delivered(event, tuple(mine))
        if at_ns is not None and at_ns <= deadline_ns:
            in_time.append(event.file_bytes)
    useful = max(in_time, default=request.first_byte) if mine else request.first_byte
    carried, possible = _could(run, request, mine[0] if mine else None, offer)
    came = mine and mine[-1].event.end_byte > request.first_byte
    return DeadlineRequest(
        ue=request.who,
        round=request.round,
        step=request.step,
        admission=request.admission,
        deadline_ms=request.deadline_ms,
        refused=refused,
        met=bool(came) and bool(in_time) and mine[-1].end_ns <= deadline_ns,
        configuration=_configuration(offer, max(in_time)) if offer and in_time else None,
        useful_bytes=useful,
        possible_bytes=possible,
        carried_bytes=carried,
        useful_share=useful / possible if possible else None,
        link_share=useful / carried if carried else None,
        first_inference_ms=_first_inference_ms(run, ready, tuple(mine)),
    )


def _offer(run: Run, model: str) -> ModelOffered | None:
    return next((event for event in run.events_of(ModelOffered) if event.model == model), None)


def _configuration(offer: ModelOffered, end_byte: int) -> str | None:
    """The configuration that the first bytes of the file make runnable."""
    return dict(zip(offer.end_bytes, offer.configurations, strict=True)).get(end_byte)


def _could(
    run: Run, request: ModelRequested, transfer: Transfer | None, offer: ModelOffered | None
) -> tuple[int | None, int | None]:
    """Prefix that could have been there by the deadline: to the byte, and to the end of what
    an admission would have sent that knew it."""
    path = probed_path(run, transfer) if transfer is not None else None
    if path is None or transfer is None or request.deadline_ms is None or offer is None:
        return None, None
    size = path.carried_by(request.deadline_ms) - transfer.header_bytes
    whole = max(offer.end_bytes)
    carried = min(request.first_byte + max(size, 0), request.max_bytes or whole, whole)
    return carried, _aim(request, offer, carried)


def _aim(request: ModelRequested, offer: ModelOffered, carried: int) -> int:
    """Choose from what fits: a stream takes most; a look-up takes the most accurate, or the first
    that is as accurate as was wanted; of equals the smaller."""
    fitting = [end for end in offer.end_bytes if request.first_byte < end <= carried]
    if offer.accuracies is None or request.admission != "lookup":
        return max(fitting, default=request.first_byte)
    accuracy = dict(zip(offer.end_bytes, offer.accuracies, strict=True))
    if request.accuracy is not None:
        fitting = [end for end in fitting if accuracy[end] >= request.accuracy][:1]
    return max(fitting, key=lambda end: (accuracy[end], -end), default=request.first_byte)


def _first_inference_ms(
    run: Run, ready: list[ConfigurationReady], mine: tuple[Transfer, ...]
) -> float | None:
    """From the smallest configuration's last byte to the end of its first inference."""
    if not ready or not mine or mine[0].event.first_byte:
        return None
    first = min(ready, key=lambda event: event.file_bytes)
    ran = first_evaluations(run).get((first.who, first.round, first.configuration))
    at_ns = delivered(first, mine)
    return None if ran is None or at_ns is None else (ran.t_ns - at_ns) / 1e6


def _together(ue: str, admission: str, requests: list[DeadlineRequest]) -> UeDeliveries:
    useful = [r.useful_share for r in requests if r.useful_share is not None]
    link = [r.link_share for r in requests if r.link_share is not None]
    waited = [r.first_inference_ms for r in requests if r.first_inference_ms is not None]
    good = [r for r in requests if r.met and (r.useful_share or 0) >= GOOD_SHARE]
    met = sum(r.met for r in requests)
    return UeDeliveries(
        ue=ue,
        admission=admission,
        requests=len(requests),
        refused=sum(r.refused for r in requests),
        met=met,
        met_share=met / len(requests),
        useful_share_min=min(useful, default=None),
        useful_share_median=median(useful) if useful else None,
        link_share_median=median(link) if link else None,
        good_share=len(good) / len(requests) if useful else None,
        first_inference_ms_median=median(waited) if waited else None,
        first_inference_ms_max=max(waited, default=None),
    )
