"""Deadlines kept and missed, against what the link could have carried; refusals and the like."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.metrics.delivery.transfers import ProbedPath
from analysis.metrics.measure import measure
from analysis.run.reader import read_run
from analysis.summary.accordion import Accordion
from stage_node.records.events import (
    DownloadEnded,
    Event,
    FaultInjected,
    ModelOffered,
    ModelRequested,
    StepRefused,
    WindowOpened,
    read_events,
)
from tests.analysis.synthetic_run import PREFIXES


def changed(path: Path, change: Callable[[Event], Event], *more: Event) -> Accordion:
    """The figures of a run whose events were changed, and more added."""
    file = path / "events.jsonl"
    events = [change(event) for event in read_events(file)]
    file.write_text("".join(event.to_json() + "\n" for event in (*events, *more)))
    accordion = measure(read_run(path)).summary.accordion
    assert accordion
    return accordion


OFFERED = ModelOffered(
    t_ns=0,
    who="edge",
    model="digits",
    configurations=tuple("-".join(map(str, c)) for c, _, _ in PREFIXES),
    end_bytes=tuple(end for _, end, _ in PREFIXES),
)


def test_a_request_is_judged_by_what_was_there_in_time(copied: Callable[[], Path]) -> None:
    accordion = changed(copied(), lambda event: event, OFFERED)
    (request,) = accordion.requests
    assert (request.met, request.refused, request.deadline_ms) == (True, False, 150)
    assert (request.configuration, request.useful_bytes) == ("2-2-2", 60_000)
    assert request.carried_bytes
    assert request.carried_bytes >= request.useful_bytes
    assert request.possible_bytes in (60_000, 100_000)
    assert request.useful_share == 60_000 / request.possible_bytes
    assert request.link_share == 60_000 / request.carried_bytes
    assert request.first_inference_ms == pytest.approx(8)
    (ue,) = accordion.ues
    assert (ue.ue, ue.requests, ue.met, ue.met_share) == ("ue1", 1, 1, 1.0)
    assert ue.first_inference_ms_max == pytest.approx(8)


@pytest.mark.parametrize(
    ("asked", "accuracies", "possible"),
    [
        ({}, (0.9, 0.9, 0.9), 30_000),  # of equally accurate ones the smaller
        ({"accuracy": 0.75}, (0.7, 0.8, 0.9), 60_000),
        ({"accuracy": 0.85}, (0.7, 0.8, 0.9), 100_000),
        ({"admission": "stream"}, (0.9, 0.9, 0.9), 100_000),
    ],
)
def test_a_request_is_held_against_what_its_admission_would_have_chosen(
    copied: Callable[[], Path],
    asked: dict[str, Any],
    accuracies: tuple[float, ...],
    possible: int,
) -> None:
    def change(event: Event) -> Event:
        if isinstance(event, ModelRequested) and event.deadline_ms:
            return replace(event, deadline_ms=1e4, **asked)
        return event

    offered = replace(OFFERED, accuracies=accuracies)
    (request,) = changed(copied(), change, offered).requests
    assert request.possible_bytes == possible


def test_what_came_after_the_deadline_does_not_count(copied: Callable[[], Path]) -> None:
    def hasten(event: Event) -> Event:
        if isinstance(event, ModelRequested) and event.deadline_ms:
            return replace(event, deadline_ms=60.0)
        return event

    (request,) = changed(copied(), hasten, OFFERED).requests
    assert not request.met
    assert request.useful_bytes in (0, 30_000)


def test_refusals_faults_and_windows_are_told_by_host(copied: Callable[[], Path]) -> None:
    about = {"t_ns": 10**18, "who": "edge", "ue": "10.0.0.1"}
    refused = StepRefused(t_ns=10**18, who="ue1", model="digits", status=409, reason="no", step=0)
    accordion = changed(
        copied(),
        lambda e: replace(e, receive_window_bytes=200_000) if isinstance(e, DownloadEnded) else e,
        refused,
        FaultInjected(model="digits", fault="cut", at_byte=7, **about),
        WindowOpened(segments=70, **about),
    )
    assert [(r.ue, r.status, r.reason) for r in accordion.refusals] == [("ue1", 409, "no")]
    assert [(f.ue, f.fault, f.at_byte) for f in accordion.faults] == [("ue1", "cut", 7)]
    (window,) = accordion.initial_windows
    assert (window.ue, window.segments, window.receive_window_bytes) == ("ue1", 70, 200_000)
    expected = accordion.downloads[0].expected
    assert expected
    assert expected.slow_start_ms == 0


def test_only_the_first_round_is_shown_and_all_are_counted(copied: Callable[[], Path]) -> None:
    def later(event: Event) -> Event:
        return (
            replace(event, round=1) if isinstance(event, ModelRequested | DownloadEnded) else event
        )

    accordion = changed(copied(), later, OFFERED)
    assert [r.round for r in accordion.requests] == [1]
    assert {d.round for d in accordion.downloads} == {1}


@given(
    goodput=st.floats(0.1, 500),
    rtt=st.floats(0.1, 500),
    deadline=st.floats(1, 5000),
    window=st.integers(10, 2000),
)
def test_what_a_link_carries_by_a_deadline_takes_that_long(
    goodput: float, rtt: float, deadline: float, window: int
) -> None:
    path = ProbedPath(goodput, rtt, 1448, window)
    size = path.carried_by(deadline)
    if size:
        assert path.least(size).total_ms <= deadline
    assert path.least(size + 1).total_ms > deadline or size == 0
