"""The model server over real sockets: one GET for a prefix, ranges as any web server's."""

import socket
import subprocess
import threading
from contextlib import contextmanager

import httpx
import pytest
import torch
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.staticfiles import StaticFiles

from stage_node.accordion.prefix import PrefixReader
from stage_node.accordion.prefix_writer import arrange, encode
from stage_node.accordion.protocol import (
    Admission,
    NotAdmittedError,
    UnsatisfiableRangeError,
    parse_range,
)
from stage_node.accordion.server.connections import SO_MAX_PACING_RATE, Connections
from stage_node.accordion.server.faults import Fault
from stage_node.accordion.server.model_server import ModelServer
from stage_node.accordion.server.served_file import ServedFile, read_catalog
from stage_node.errors import BadModelError
from stage_node.models import ModelSpec, build_model
from stage_node.records.events import Admitted, EventLog, FaultInjected, read_events

torch.manual_seed(0)
MODEL = build_model(
    ModelSpec(depth=8, width=2, classes=10, in_channels=1, image_size=8, downsample="pool")
).eval()
CONTENT = encode(arrange(MODEL, ((1, 0, 0), (1, 1, 1)), {}), {"spec": MODEL.spec.model_dump_json()})
ASKED = []


def admit(request, ue):
    ASKED.append((request, ue))
    if request.deadline_ms == 1:
        raise NotAdmittedError(409, "configuration 1 of m takes 9 ms")
    end = max(request.first_byte, 5_000)
    return Admission((3, 1, 0), 0.97, request.first_byte, end, 12.0, 34.5, "a test")


@contextmanager
def running(models):
    """The server behind a real listening socket; yields its base URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = models.configured()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    (folder / "m.safetensors").write_bytes(CONTENT)
    with (
        EventLog(folder / "events.jsonl", "edge") as events,
        running(ModelServer(read_catalog([folder / "m.safetensors"]), admit, events)) as url,
    ):
        yield url, folder / "events.jsonl"


@pytest.fixture
def get(base):
    def get(path="/models/m.safetensors", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.get(base[0] + path, headers=named)

    return get


def test_one_request_with_needs_gets_the_prefix_and_the_name_of_its_configuration(get, base):
    answer = get("/models/m.safetensors?deadline_ms=300&max_bytes=9000")
    assert answer.status_code == 206
    assert answer.content == CONTENT[:5000]
    assert answer.headers["content-range"] == f"bytes 0-4999/{len(CONTENT)}"
    assert answer.headers["concertina-configuration"] == "3-1-0"
    assert answer.headers["concertina-accuracy"] == "0.97"
    assert answer.headers["concertina-predicted-ms"] == "34.500"
    request, ue = ASKED[-1]
    assert (request.model, request.deadline_ms, request.max_bytes, request.accuracy) == (
        "m", 300, 9000, None,
    )  # fmt: skip
    assert ue == "127.0.0.1"
    event = list(read_events(base[1]))[-1]
    assert isinstance(event, Admitted)
    assert (event.configuration, event.first_byte, event.end_byte) == ((3, 1, 0), 0, 5000)


def test_an_upgrade_names_what_is_there_and_gets_the_rest(get):
    first = get("/models/m.safetensors?max_bytes=1")
    answer = get("/models/m.safetensors?accuracy=0.9", Range="bytes=1200-",
                 If_Match=first.headers["etag"])  # fmt: skip
    assert answer.status_code == 206
    assert answer.content == CONTENT[1200:5000]
    assert ASKED[-1][0].first_byte == 1200


def test_who_has_it_all_is_sent_nothing(get):
    answer = get("/models/m.safetensors?accuracy=0.9", Range="bytes=6000-")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["concertina-configuration"] == "3-1-0"


@pytest.mark.parametrize(
    ("path", "headers", "status", "reason"),
    [
        ("/models/x.safetensors?accuracy=1", {}, 404, "no model 'x'; this server has m"),
        ("/models/m.safetensors?deadline_ms=1", {}, 409, "configuration 1 of m takes 9 ms"),
        ("/models/m.safetensors?deadline_ms=soon", {}, 400, "deadline_ms=soon is no number"),
        ("/models/m.safetensors?accuracy=1.5", {}, 400, "is no number from 0 to 1"),
        ("/models/m.safetensors?accuracy=nan", {}, 400, "accuracy=nan"),
        ("/models/m.safetensors?max_bytes=1.5", {}, 400, "is no whole number"),
        ("/models/m.safetensors?colour=red", {}, 400, "unknown parameter 'colour'; known: max"),
        ("/models/m.safetensors?accuracy=0", {"Range": "bytes=1-2"}, 400, "a Range is bytes=N-"),
        ("/models/m.safetensors", {"If-Match": '"old"'}, 412, "model m has changed"),
        ("/models/m.safetensors", {"Range": "bytes=99999-"}, 416, f"end of {len(CONTENT)} bytes"),
        ("/models/m.safetensors?admission=magic", {}, 400, "admission=magic is neither lookup nor"),
        ("/models/m.safetensors?admission=stream&max_bytes=9", {}, 400, "until a deadline_ms"),
    ],
)
def test_every_refusal_says_why(get, path, headers, status, reason):
    answer = get(path, **headers)
    assert answer.status_code == status
    assert reason in answer.json()["error"]


def test_without_needs_it_is_a_file_like_any_other(get):
    whole = get()
    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert whole.headers["accept-ranges"] == "bytes"
    part = get(Range="bytes=100-199")
    assert (part.status_code, part.content) == (206, CONTENT[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(CONTENT)}"
    assert get(Range="bytes=-10").content == CONTENT[-10:]
    assert get(Range="bytes=9000-").content == CONTENT[9000:]
    assert get(Range="bytes=9000-99999").content == CONTENT[9000:]
    assert get(Range="bytes=99999-").headers["content-range"] == f"bytes */{len(CONTENT)}"
    assert get(Range="bytes=1-2", If_Range='"old"').status_code == 200
    assert get(Range="bytes=1-2", If_Range=whole.headers["etag"]).status_code == 206


@pytest.mark.parametrize("ignored", ["bytes=5-2", "bytes=-", "pages=1-2", "bytes=1-2,4-5", "x"])
def test_a_range_that_says_nothing_is_ignored(get, ignored):
    assert get(Range=ignored).status_code == 200


def test_head_tells_the_size_and_other_methods_are_not_allowed(base):
    answer = httpx.head(f"{base[0]}/models/m.safetensors")
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert httpx.post(f"{base[0]}/models/m.safetensors").status_code == 405


def test_curl_takes_a_range_and_has_a_working_model(base, tmp_path):
    check_with_curl(f"{base[0]}/models/m.safetensors", tmp_path)


def test_so_it_does_from_any_static_file_server(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(CONTENT)
    with static_files(tmp_path) as url:
        check_with_curl(f"{url}/m.safetensors", tmp_path)


@contextmanager
def static_files(folder):
    """Starlette's own file server, which knows nothing of models."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = StaticFiles(directory=folder)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def check_with_curl(url, tmp_path):
    """The first range runs as the smallest configuration, the next one completes the model."""
    whole = PrefixReader()
    whole.feed(CONTENT)
    smallest, size = next(iter(whole.header.configurations.items()))
    out = tmp_path / "part"
    subprocess.run(["curl", "-sf", "-r", f"0-{size - 1}", "-o", out, url], check=True)
    assert out.stat().st_size == size
    reader = PrefixReader()
    assert reader.feed(out.read_bytes()) == (smallest,)
    images = torch.randn(2, 1, 8, 8)
    with torch.inference_mode():
        expected = MODEL.configured(smallest)(images)
        assert torch.equal(reader.load(smallest)(images), expected)
    subprocess.run(["curl", "-sf", "-r", f"{size}-", "-o", out, url], check=True)
    reader.feed(out.read_bytes())
    assert reader.missing == 0


def test_faults_strike_as_often_as_they_are_asked_for_and_are_told(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(CONTENT)
    with EventLog(tmp_path / "events.jsonl", "edge") as events:
        server = ModelServer(read_catalog([tmp_path / "m.safetensors"]), admit, events)
        server.faults.arm([Fault(flip_byte=100), Fault(cut_at_byte=700)])
        with running(server) as base:
            url = f"{base}/models/m.safetensors"
            flipped = httpx.get(url).content
            with pytest.raises(httpx.RemoteProtocolError, match="700 bytes"):
                httpx.get(url)
            assert httpx.get(url).content == CONTENT
    differing = [i for i, (a, b) in enumerate(zip(flipped, CONTENT, strict=True)) if a != b]
    assert differing == [100]
    told = [e for e in read_events(tmp_path / "events.jsonl") if isinstance(e, FaultInjected)]
    assert [(e.fault, e.at_byte) for e in told] == [("flip", 100), ("cut", 700)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (CONTENT[:-1], "cut off or altered"),
        (CONTENT[:3000], "cut off or altered"),
        (CONTENT[:5], "cut off or altered"),
        (b"", "cut off or altered"),
        (CONTENT[:-9] + bytes([CONTENT[-9] ^ 1]) + CONTENT[-8:], "arrived damaged: wrong SHA-256"),
    ],
)
def test_a_damaged_checkpoint_is_never_served(tmp_path, content, reason):
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(BadModelError, match=reason):
        read_catalog([tmp_path / "m.safetensors"])


@given(size=st.integers(1, 500), first=st.integers(0, 600), last=st.integers(0, 600))
def test_a_range_is_what_slicing_gives(size, first, last):
    content = bytes(i % 251 for i in range(size))
    header = f"bytes={first}-{last}"
    if first >= size and last >= first:
        with pytest.raises(UnsatisfiableRangeError):
            parse_range(header, size)
        return
    part = parse_range(header, size)
    if last < first:
        assert part is None
    else:
        assert content[part.first : part.end] == content[first : last + 1]


def test_a_suffix_of_nothing_cannot_be_sent():
    with pytest.raises(UnsatisfiableRangeError):
        parse_range("bytes=-0", 10)
    assert parse_range("bytes=-99", 10).first == 0


def test_the_etag_changes_with_the_content_and_what_is_not_there_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(CONTENT)
    before = ServedFile.read(path).etag
    path.write_bytes(
        encode(arrange(MODEL, ((1, 1, 1),), {}), {"spec": MODEL.spec.model_dump_json()})
    )
    assert ServedFile.read(path).etag != before
    with pytest.raises(BadModelError, match=r"x\.safetensors"):
        read_catalog([tmp_path / "x.safetensors"])


def test_a_catalog_is_of_any_folders_but_each_name_is_one_file(tmp_path):
    paths = [tmp_path / "m.safetensors", tmp_path / "a" / "n.safetensors"]
    paths[1].parent.mkdir()
    for path in paths:
        path.write_bytes(CONTENT)
    assert set(read_catalog([*paths, paths[0]])) == {"m", "n"}
    other = tmp_path / "a" / "m.safetensors"
    with pytest.raises(BadModelError, match=f"two models are called m: {paths[0]} and {other}"):
        read_catalog([*paths, other])


def test_a_peer_is_sent_to_at_its_pace_and_no_last_piece_waits_for_an_acknowledgement(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(CONTENT)
    catalog = read_catalog([tmp_path / "m.safetensors"])
    connections = Connections(pace_mbit={"127.0.0.1": 8.0})
    with (
        running(ModelServer(catalog, admit, None, connections)) as url,
        httpx.Client(base_url=url) as client,
    ):
        assert client.get("/models/m.safetensors").content == CONTENT
        (connection,) = connections.open.values()
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE) == 1_000_000
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
