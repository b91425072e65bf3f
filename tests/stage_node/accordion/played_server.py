"""A tiny model, a server that plays its answers, and a UE's run against it."""

import itertools
import socket
import threading
from contextlib import contextmanager

import torch

from stage_node.accordion.prefix import PrefixReader
from stage_node.accordion.prefix_writer import arrange, encode
from stage_node.accordion.ue.ue import main
from stage_node.models import ModelSpec, build_model
from stage_node.records.events import (
    read_events,
)

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
    """Answers one connection after the other, in the end always the same; port and requests."""
    listener = socket.create_server(("127.0.0.1", 0))
    requests = []

    def work():
        for answer in itertools.chain(answers, itertools.repeat(answers[-1])):
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += connection.recv(4096)
                requests.append(request.decode())
                answer(connection)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield listener.getsockname()[1], requests
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(timeout=5)


def head(first, end, status="206 Partial Content"):
    return (
        f"HTTP/1.1 {status}\r\nContent-Length: {end - first}\r\nETag: \"v1\"\r\n"
        f"Content-Range: bytes {first}-{end - 1}/{len(CONTENT)}\r\n\r\n"
    ).encode()  # fmt: skip


def part(first, end, content=CONTENT):
    return lambda connection: connection.sendall(head(first, end) + content[first:end])


def run(tmp_path, port, *steps, **options):
    path = tmp_path / "events.jsonl"
    told = {"name": "ue1", "server_ip": "127.0.0.1", "server_port": port, "model": "tiny"}
    told |= {"steps": steps, "dataset": "digits", "events_path": path, **options}
    try:
        main(told)
    finally:
        events = list(read_events(path)) if path.exists() else []
    return events


def of(events, kind):
    return [event for event in events if isinstance(event, kind)]
