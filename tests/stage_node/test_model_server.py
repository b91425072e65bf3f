"""The model server over real sockets: one GET for a prefix, ranges as any web server's."""

import socket
import subprocess
import threading
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from stage_node.delivery import (
    Admission,
    NotAdmittedError,
    UnsatisfiableRangeError,
    parse_range,
)
from stage_node.errors import BadModelError
from stage_node.events import Admitted, EventLog, read_events
from stage_node.model_server import ServedFile, create_app, read_catalog

CONTENT = bytes(range(256)) * 40
ASKED = []


def admit(request, ue):
    ASKED.append((request, ue))
    if request.deadline_ms == 1:
        raise NotAdmittedError(409, "configuration 1 of m takes 9 ms")
    end = max(request.first_byte, 5_000)
    return Admission((3, 1, 0), 0.97, request.first_byte, end, 12.0, 34.5, "a test")


@contextmanager
def running(app):
    """The application behind a real listening socket; yields its base URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http="h11", lifespan="off", log_level="error"))
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
        running(create_app(read_catalog(folder), admit, events)) as url,
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
        ("/models/m.safetensors", {"Range": "bytes=99999-"}, 416, "past the end of 10240 bytes"),
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
    assert get(Range="bytes=10000-").content == CONTENT[10000:]
    assert get(Range="bytes=10000-99999").content == CONTENT[10000:]
    assert get(Range="bytes=20000-").headers["content-range"] == f"bytes */{len(CONTENT)}"
    assert get(Range="bytes=1-2", If_Range='"old"').status_code == 200
    assert get(Range="bytes=1-2", If_Range=whole.headers["etag"]).status_code == 206


@pytest.mark.parametrize("ignored", ["bytes=5-2", "bytes=-", "pages=1-2", "bytes=1-2,4-5", "x"])
def test_a_range_that_says_nothing_is_ignored(get, ignored):
    assert get(Range=ignored).status_code == 200


def test_head_tells_the_size_and_other_methods_are_not_allowed(base):
    answer = httpx.head(f"{base[0]}/models/m.safetensors")
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert httpx.post(f"{base[0]}/models/m.safetensors").status_code == 405


def test_curl_takes_a_range(base, tmp_path):
    out = tmp_path / "part"
    subprocess.run(
        ["curl", "-sf", "-r", "0-4999", "-o", out, f"{base[0]}/models/m.safetensors"], check=True
    )
    assert out.read_bytes() == CONTENT[:5000]


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


def test_the_etag_changes_with_the_content_and_an_empty_folder_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"one")
    before = ServedFile.read(path).etag
    path.write_bytes(b"two")
    assert ServedFile.read(path).etag != before
    with pytest.raises(BadModelError, match="to serve"):
        read_catalog(tmp_path / "nowhere")
