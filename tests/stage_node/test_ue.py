"""The UE over real sockets: it runs what has arrived, and fetches nothing twice."""

import socket
import threading
import time
from contextlib import contextmanager

import pytest
import torch

from controller.accordion.training import evaluate
from stage_node.data import load_dataset
from stage_node.download import DeliveryError
from stage_node.errors import BadModelError
from stage_node.events import (
    ConfigurationEvaluated,
    ConfigurationReady,
    DownloadEnded,
    ModelRequested,
    read_events,
)
from stage_node.models import ModelSpec, build_model
from stage_node.prefix import CorruptPartError, PrefixReader
from stage_node.prefix_writer import arrange, encode
from stage_node.ue import main

LADDER = ((1, 0, 0), (1, 1, 0), (1, 1, 1))
torch.manual_seed(0)
MODEL = build_model(
    ModelSpec(depth=8, width=2, classes=10, in_channels=1, image_size=8, downsample="pool")
).eval()
CONTENT = encode(arrange(MODEL, LADDER, {}), {"spec": MODEL.spec.model_dump_json()})
ENDS = list((lambda reader: reader.feed(CONTENT) and reader.header.configurations.values())(
    PrefixReader()))  # fmt: skip


@contextmanager
def server(*answers):
    """A server that answers one connection after the other; yields its port and the requests."""
    listener = socket.create_server(("127.0.0.1", 0))
    requests = []

    def work():
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += connection.recv(4096)
                requests.append(request.decode())
                answer(connection)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield listener.getsockname()[1], requests
    listener.close()
    thread.join(timeout=5)


def head(first, end, status="206 Partial Content"):
    return (
        f"HTTP/1.1 {status}\r\nContent-Length: {end - first}\r\nETag: \"v1\"\r\n"
        f"Content-Range: bytes {first}-{end - 1}/{len(CONTENT)}\r\n\r\n"
    ).encode()  # fmt: skip


def part(first, end, content=CONTENT):
    return lambda connection: connection.sendall(head(first, end) + content[first:end])


def run(tmp_path, port, *steps):
    path = tmp_path / "events.jsonl"
    try:
        main("ue1", "127.0.0.1", port, "tiny", steps, "digits", str(path))
    finally:
        events = list(read_events(path)) if path.exists() else []
    return events


def of(events, kind):
    return [event for event in events if isinstance(event, kind)]


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
    """The server holds the last bytes back until the first configuration has been run."""
    path = tmp_path / "events.jsonl"

    def answer(connection):
        connection.sendall(head(0, ENDS[2]) + CONTENT[: ENDS[0]])
        for _ in range(500):
            if of(read_events(path), ConfigurationEvaluated):
                connection.sendall(CONTENT[ENDS[0] : ENDS[2]])
                return
            time.sleep(0.02)

    with server(answer) as (port, _):
        events = run(tmp_path, port, {"all": True})
    first = of(events, ConfigurationEvaluated)[0]
    assert first.configuration == (1, 0, 0)
    assert first.t_ns < of(events, ConfigurationReady)[1].t_ns


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


def test_an_altered_block_is_never_run(tmp_path):
    altered = bytearray(CONTENT)
    altered[ENDS[1] - 1] ^= 1
    with (
        server(part(0, ENDS[2], bytes(altered))) as (port, _),
        pytest.raises(CorruptPartError, match="block2_0"),
    ):
        run(tmp_path, port, {"all": True})
    events = list(read_events(tmp_path / "events.jsonl"))
    assert {e.configuration for e in of(events, ConfigurationReady)} <= {(1, 0, 0)}
    assert {e.configuration for e in of(events, ConfigurationEvaluated)} <= {(1, 0, 0)}


def refused(connection):
    body = b'{"error": "configuration 1-0-0 takes 90 ms"}'
    connection.sendall(b"HTTP/1.1 409 Conflict\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (refused, r"refused \(409\): configuration 1-0-0 takes 90 ms"),
        (lambda c: c.sendall(head(0, ENDS[2]) + CONTENT[:99]), "bytes too early"),
        (lambda c: c.sendall(head(7, 99) + CONTENT[7:99]), "asked for bytes from 0, .* at 7"),
        (lambda c: c.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nbad"), "500.*bad"),
        (lambda c: c.sendall(b"nonsense\r\n\r\n"), "BadStatusLine"),
        (lambda c: None, "RemoteDisconnected"),
    ],
)
def test_a_server_that_does_not_deliver_ends_it_with_one_clear_line(tmp_path, answer, reason):
    with server(answer) as (port, _), pytest.raises(DeliveryError, match=reason) as caught:
        run(tmp_path, port, {"all": True})
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 1


def test_no_server_and_no_sense_are_errors_too(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(DeliveryError, match="ConnectionRefused"):
        run(tmp_path, port, {"all": True})
    with pytest.raises(BadModelError, match="deadline"):
        run(tmp_path, port, {"deadline": 3})
