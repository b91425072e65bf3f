"""The UE over real sockets: it runs what has arrived, and fetches nothing twice."""

import itertools
import os
import socket
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.accordion.accuracy import evaluate
from stage_node.accordion.prefix import CorruptPartError
from stage_node.accordion.ue.download import DeliveryError, DownloadRefusedError
from stage_node.accordion.ue.fetch import FRUITLESS_ATTEMPTS
from stage_node.accordion.ue.model_in_use import ModelInUse
from stage_node.data import load_dataset
from stage_node.processes.charges import UnknownChargeError
from stage_node.processes.configuration import BadConfigurationError
from stage_node.processes.priority import LAST
from stage_node.records.events import (
    ConfigurationEvaluated,
    ConfigurationReady,
    DownloadEnded,
    ModelRequested,
    SteppedDown,
    StepRefused,
    read_events,
)
from tests.stage_node.accordion.played_server import (
    CONTENT,
    ENDS,
    LADDER,
    MODEL,
    head,
    of,
    part,
    run,
    server,
)


def test_a_prefix_then_what_is_missing_and_every_configuration_is_run_once(tmp_path):
    with server(part(0, ENDS[0]), part(ENDS[0], ENDS[2])) as (port, requests):
        events = run(
            tmp_path,
            port,
            {"deadline_ms": 200, "max_bytes": 9000},
            {"accuracy": 0.9, "pause_ms": 5},
        )
    assert requests[0].startswith("GET /models/tiny.safetensors?max_bytes=9000&deadline_ms=200.0 ")
    assert "Range" not in requests[0]
    assert requests[1].startswith("GET /models/tiny.safetensors?accuracy=0.9 ")
    assert f"Range: bytes={ENDS[0]}-\r\n" in requests[1]
    assert 'If-Match: "v1"\r\n' in requests[1]
    assert [e.configuration for e in of(events, ConfigurationReady)] == list(LADDER)
    assert [e.file_bytes for e in of(events, ConfigurationReady)] == ENDS
    evaluated = of(events, ConfigurationEvaluated)
    test = load_dataset("digits").test
    assert [e.configuration for e in evaluated] == list(LADDER)
    for event in evaluated:
        assert event.accuracy == evaluate(MODEL.configured(event.configuration), test)
        assert (event.samples, event.split) == (300, "test")
    ranges = [(e.first_byte, e.end_byte) for e in of(events, DownloadEnded)]
    assert ranges == [(0, ENDS[0]), (ENDS[0], ENDS[2])]


def test_the_events_of_one_download_are_in_the_order_of_time(tmp_path):
    with server(part(0, ENDS[2])) as (port, _):
        events = run(tmp_path, port, {"all": True})
    (asked,), (ended,) = of(events, ModelRequested), of(events, DownloadEnded)
    ready = of(events, ConfigurationReady)
    assert asked.t_ns <= ended.begin_ns < ready[0].t_ns <= ready[-1].t_ns <= ended.t_ns
    assert ended.server_port == port
    assert ended.local_port not in (0, port)
    for before, after in zip(ready, of(events, ConfigurationEvaluated), strict=True):
        assert before.t_ns < after.t_ns


def test_inference_goes_on_while_the_rest_is_still_under_way(tmp_path):
    """The server holds the last bytes back until the first inferences are told of."""
    told = tmp_path / "events.jsonl"

    def answer(connection):
        connection.sendall(head(0, ENDS[2]) + CONTENT[: ENDS[0]])
        deadline = time.monotonic() + 20
        while ConfigurationEvaluated.kind not in told.read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        connection.sendall(CONTENT[ENDS[0] : ENDS[2]])

    with server(answer) as (port, _):
        events = run(tmp_path, port, {"all": True})
    first = of(events, ConfigurationEvaluated)[0]
    assert first.configuration == (1, 0, 0)
    assert first.t_ns < of(events, ConfigurationReady)[1].t_ns


def test_it_infers_last_in_priority_and_has_done_so_before_it_asks(tmp_path, monkeypatch):
    infer, inferences = ModelInUse.infer, []

    def watched(in_use, images):
        niceness = os.getpriority(os.PRIO_PROCESS, 0)  # of this thread
        inferences.append((len(requests), niceness, infer(in_use, images)[0]))
        return infer(in_use, images)

    monkeypatch.setattr(ModelInUse, "infer", watched)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    with server(part(0, ENDS[2])) as (port, requests):
        run(tmp_path, port, {"all": True})
    rehearsed = [(0, LAST, configuration) for configuration in LADDER]
    assert inferences[:6] == 2 * rehearsed  # in 32 and in 8 bits
    assert inferences[6:] == [(1, LAST, configuration) for configuration in LADDER]
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


def test_asking_for_all_is_a_plain_range(tmp_path):
    with server(part(0, ENDS[0]), part(ENDS[0], ENDS[2])) as (port, requests):
        run(tmp_path, port, {"deadline_ms": 99}, {"all": True})
    assert requests[1].startswith("GET /models/tiny.safetensors HTTP/1.1")
    assert f"Range: bytes={ENDS[0]}-" in requests[1]


def test_nothing_more_to_send_is_no_error(tmp_path):
    nothing = lambda connection: connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")  # noqa: E731
    with server(part(0, ENDS[0]), nothing) as (port, _):
        events = run(tmp_path, port, {"deadline_ms": 99}, {"accuracy": 0.1})
    assert of(events, DownloadEnded)[1].end_byte == ENDS[0]


ALTERED = bytearray(CONTENT)
ALTERED[ENDS[1] - 1] ^= 1


def test_a_block_that_stays_altered_is_never_run(tmp_path):
    def whatever_is_left(connection):
        connection.sendall(head(ENDS[0], ENDS[2]) + ALTERED[ENDS[0] : ENDS[2]])

    with (
        server(part(0, ENDS[2], bytes(ALTERED)), whatever_is_left) as (port, requests),
        pytest.raises(CorruptPartError, match="block2_0"),
    ):
        run(tmp_path, port, {"all": True})
    assert len(requests) == 1 + FRUITLESS_ATTEMPTS
    events = list(read_events(tmp_path / "events.jsonl"))
    assert {e.configuration for e in of(events, ConfigurationReady)} <= {(1, 0, 0)}
    assert {e.configuration for e in of(events, ConfigurationEvaluated)} <= {(1, 0, 0)}


def test_an_altered_block_is_fetched_again_and_nothing_before_it(tmp_path):
    healed = part(ENDS[0], ENDS[2])
    with server(part(0, ENDS[2], bytes(ALTERED)), healed) as (port, requests):
        events = run(tmp_path, port, {"deadline_ms": 500})
    assert requests[1].startswith("GET /models/tiny.safetensors HTTP/1.1")
    assert f"Range: bytes={ENDS[0]}-{ENDS[2] - 1}\r\n" in requests[1]
    assert 'If-Match: "v1"\r\n' in requests[1]
    damaged, complete = of(events, DownloadEnded)
    assert (damaged.outcome, damaged.first_byte) == ("damaged", 0)
    assert "block2_0" in damaged.reason
    assert (complete.outcome, complete.attempt, complete.step) == ("complete", 2, 0)
    assert [e.configuration for e in of(events, ConfigurationEvaluated)] == list(LADDER)


def cut(first, at, end):
    return lambda connection: connection.sendall(head(first, end) + CONTENT[first:at])


def test_a_download_that_breaks_off_goes_on_where_it_stopped(tmp_path):
    broken = ENDS[1] - 100
    with server(cut(0, broken, ENDS[2]), part(broken, ENDS[2])) as (port, requests):
        events = run(tmp_path, port, {"deadline_ms": 500})
    assert f"Range: bytes={broken}-{ENDS[2] - 1}\r\n" in requests[1]
    ended = of(events, DownloadEnded)
    assert [(e.first_byte, e.end_byte) for e in ended] == [(0, broken), (broken, ENDS[2])]
    assert [e.outcome for e in ended] == ["interrupted", "complete"]
    assert "bytes too early" in ended[0].reason
    assert [e.configuration for e in of(events, ConfigurationEvaluated)] == list(LADDER)


@given(places=st.lists(st.integers(1, ENDS[2] - 1), unique=True, max_size=4).map(sorted))
@settings(max_examples=8, deadline=None)
def test_however_often_it_breaks_no_byte_comes_twice(places):
    bounds = [0, *places, ENDS[2]]
    answers = [cut(a, b, ENDS[2]) for a, b in itertools.pairwise(bounds)]
    with tempfile.TemporaryDirectory() as folder, server(*answers) as (port, _):
        events = run(Path(folder), port, {"all": True})
    ranges = [(e.first_byte, e.end_byte) for e in of(events, DownloadEnded)]
    assert ranges == list(itertools.pairwise(bounds))
    assert [e.configuration for e in of(events, ConfigurationReady)] == list(LADDER)


def streamed(first, end, complete=True):
    """An answer of which only its end tells the length."""

    def answer(connection):
        connection.sendall(
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: "v1"\r\n'
            b"Concertina-First-Byte: %d\r\n\r\n" % first
        )
        for begin in range(first, end, 1000):
            piece = CONTENT[begin : min(begin + 1000, end)]
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        if complete:
            connection.sendall(b"0\r\n\r\n")

    return answer


def test_a_stream_ends_with_what_is_complete_and_the_rest_follows_later(tmp_path):
    stopped = ENDS[1] + 50
    with server(streamed(0, stopped), part(stopped, ENDS[2])) as (port, requests):
        events = run(tmp_path, port, {"deadline_ms": 90, "admission": "stream"}, {"all": True})
    query = requests[0].split()[1].partition("?")[2]
    assert query == "deadline_ms=90.0&admission=stream"
    ranges = [(e.first_byte, e.end_byte) for e in of(events, DownloadEnded)]
    assert ranges == [(0, stopped), (stopped, ENDS[2])]
    assert [e.admission for e in of(events, ModelRequested)] == ["stream", "none"]
    assert [e.configuration for e in of(events, ConfigurationEvaluated)] == list(LADDER)


def test_a_stream_that_breaks_off_is_asked_for_with_what_is_left_of_the_deadline(tmp_path):
    broken = streamed(0, ENDS[0] + 10, complete=False)
    with server(broken, streamed(ENDS[0] + 10, ENDS[2])) as (port, requests):
        run(tmp_path, port, {"deadline_ms": 5000, "admission": "stream"})
    left_ms = float(requests[1].split("deadline_ms=")[1].split("&")[0])
    assert 0 < left_ms < 5000
    assert f"Range: bytes={ENDS[0] + 10}-\r\n" in requests[1]


def test_a_stream_that_broke_off_too_late_ends_with_what_is_there(tmp_path):
    with server(streamed(0, ENDS[0] + 10, complete=False), refused) as (port, requests):
        events = run(tmp_path, port, {"deadline_ms": 50, "admission": "stream"}, {"run": "1-0-0"})
    assert len(requests) == 2
    assert not of(events, StepRefused)
    assert [e.configuration for e in of(events, SteppedDown)] == [(1, 0, 0)]


def test_stepping_down_transfers_nothing_and_is_measured(tmp_path):
    macs = MODEL.macs()
    cost = {c: sum(macs[layer] for layer in MODEL.subset(c)) for c in LADDER}
    with server(part(0, ENDS[2])) as (port, requests):
        events = run(
            tmp_path, port, {"all": True}, {"run": "1-1-0"}, {"max_macs": cost[LADDER[1]] - 1}
        )
    assert len(requests) == 1
    stepped = of(events, SteppedDown)
    assert [(e.configuration, e.macs) for e in stepped] == [
        ((1, 1, 0), cost[LADDER[1]]),
        ((1, 0, 0), cost[LADDER[0]]),
    ]
    evaluated = of(events, ConfigurationEvaluated)
    assert [e.configuration for e in evaluated] == [*LADDER, (1, 1, 0), (1, 0, 0)]
    assert evaluated[3].accuracy == evaluated[1].accuracy


def test_an_inference_takes_what_is_charged(tmp_path):
    charges = {"1-0-0": 40.0, "1-1-0": 60.0, "1-1-1": 80.0}
    with server(part(0, ENDS[2])) as (port, _):
        events = run(tmp_path, port, {"all": True}, {"run": "1-0-0"}, inference_ms=charges)
    ready = {e.configuration: e.t_ns for e in of(events, ConfigurationReady)}
    ran = of(events, ConfigurationEvaluated)
    assert [e.configuration for e in ran] == [*LADDER, (1, 0, 0)]
    assert ran[0].t_ns - ready[(1, 0, 0)] >= 40e6
    for before, after, charge in zip(ran, ran[1:], (60, 80, 40), strict=False):
        assert after.t_ns - before.t_ns >= charge * 1e6


def test_a_configuration_that_is_not_in_the_charges_is_an_error(tmp_path):
    with (
        server(part(0, ENDS[2])) as (port, _),
        pytest.raises(UnknownChargeError, match=r"an inference of '1-1-0'"),
    ):
        run(tmp_path, port, {"all": True}, inference_ms={"1-0-0": 0.0, "1-1-1": 0.0})


def test_what_the_ue_does_not_hold_it_cannot_run(tmp_path):
    with server(part(0, ENDS[0])) as (port, _):
        events = run(
            tmp_path, port, {"run": (1, 0, 0)}, {"deadline_ms": 9}, {"run": "1-1-1"},
            {"max_macs": 3},
        )  # fmt: skip
    reasons = [(e.step, e.status, e.reason) for e in of(events, StepRefused)]
    assert reasons[0] == (0, None, "no configuration is complete yet")
    assert reasons[1] == (2, None, "1-1-1 is not complete; 1-0-0 are")
    assert reasons[2][2].startswith("the smallest, 1-0-0, takes ")


def refused(connection):
    body = b'{"error": "configuration 1-0-0 takes 90 ms"}'
    connection.sendall(b"HTTP/1.1 409 Conflict\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def test_a_refusal_is_a_result_and_the_steps_after_it_are_taken(tmp_path):
    with server(refused, part(0, ENDS[2])) as (port, requests):
        events = run(tmp_path, port, {"deadline_ms": 1}, {"all": True})
    (told,) = of(events, StepRefused)
    assert (told.status, told.reason) == (409, "configuration 1-0-0 takes 90 ms")
    assert "Range: bytes=0-\r\n" in requests[1]
    assert len(of(events, ConfigurationEvaluated)) == 3


def test_the_refusal_of_a_required_step_is_an_error(tmp_path):
    with (
        server(refused) as (port, requests),
        pytest.raises(
            DownloadRefusedError, match=r"refused \(409\): configuration 1-0-0 takes 90 ms"
        ),
    ):
        run(tmp_path, port, {"deadline_ms": 1, "required": True})
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("answer", "reason", "asked"),
    [
        (lambda c: c.sendall(head(0, ENDS[2])), "bytes too early", FRUITLESS_ATTEMPTS),
        (lambda c: None, "RemoteDisconnected", FRUITLESS_ATTEMPTS),
        (lambda c: c.sendall(head(7, 99) + CONTENT[7:99]), "bytes from 0, .* at 7", 1),
        (lambda c: c.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nbad"), "500.*bad", 1),
        (lambda c: c.sendall(b"nonsense\r\n\r\n"), "BadStatusLine", 1),
    ],
)
def test_a_server_that_does_not_deliver_ends_it_with_one_clear_line(
    tmp_path, answer, reason, asked
):
    with server(answer) as (port, requests), pytest.raises(DeliveryError, match=reason) as caught:
        run(tmp_path, port, {"all": True})
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 1
    assert len(requests) == asked


def test_a_ue_that_begins_anew_measures_the_same_bytes_once(tmp_path):
    with server(part(0, ENDS[2])) as (port, _):
        events = run(tmp_path, port, {"all": True}, repeat=3)
    assert [(e.round, e.first_byte, e.end_byte) for e in of(events, DownloadEnded)] == [
        (0, 0, ENDS[2]), (1, 0, ENDS[2]), (2, 0, ENDS[2]),
    ]  # fmt: skip
    evaluated = of(events, ConfigurationEvaluated)
    assert [e.configuration for e in evaluated] == [*LADDER] * 3
    assert [e.accuracy for e in evaluated[3:6]] == [e.accuracy for e in evaluated[:3]]


def test_no_server_and_no_sense_are_errors_too(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(DeliveryError, match="ConnectionRefused"):
        run(tmp_path, port, {"all": True})
    for nonsense in (
        {"deadline": 3}, {}, {"all": True, "run": "1-0-0"}, {"run": "one"},
        {"accuracy": 0.5, "admission": "stream"}, {"all": True, "admission": "lookup"},
    ):  # fmt: skip
        with pytest.raises(BadConfigurationError, match=r"^UeConfiguration: steps\.0"):
            run(tmp_path, port, nonsense)


def test_a_swap_never_disturbs_an_inference_in_progress():
    """The model is exchanged while it is in the middle of its layers."""
    in_use, images = ModelInUse(), torch.randn(2, 1, 8, 8)
    large, small = MODEL.configured((1, 1, 1)), MODEL.configured((1, 0, 0))
    with torch.inference_mode():
        expected = {(1, 1, 1): large(images), (1, 0, 0): small(images)}
    entered, swapped = threading.Event(), threading.Event()

    def hold(*_):
        entered.set()
        assert swapped.wait(10)

    hook = large.layers[large.layer_names[1]].register_forward_hook(hold)
    in_use.swap((1, 1, 1), large)
    with ThreadPoolExecutor(1) as application:
        running = application.submit(in_use.infer, images)
        assert entered.wait(10)
        in_use.swap((1, 0, 0), small)
        assert in_use.configuration == (1, 0, 0)
        swapped.set()
        configuration, logits = running.result(10)
    hook.remove()
    assert configuration == (1, 1, 1)
    assert torch.equal(logits, expected[1, 1, 1])
    configuration, logits = in_use.infer(images)
    assert configuration == (1, 0, 0)
    assert torch.equal(logits, expected[1, 0, 0])
