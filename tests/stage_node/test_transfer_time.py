"""What a received frame says about its connection: the wait for its bytes, and nothing else."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from stage_node.channel import Channel, Ring
from stage_node.wire import Header, Kind

PAYLOAD = bytes(200_000)
HEADER = Header(kind=Kind.ACTIVATION, payload_bytes=len(PAYLOAD)).encode()
REST_S = 0.4  # longer than a busy machine stands still, mostly
LIMITS = {Kind.ACTIVATION: len(PAYLOAD)}


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Channel]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        channel = Channel(listener.accept()[0], LIMITS)
    yield sender, channel
    sender.close()
    channel.close()


def send_slowly(sender: socket.socket, *parts: bytes) -> threading.Thread:
    def send() -> None:
        for part in parts:
            sender.sendall(part)
            time.sleep(REST_S)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_bytes_that_come_late_are_waited_for(ends: tuple[socket.socket, Channel]) -> None:
    sender, channel = ends
    sending = send_slowly(sender, HEADER + PAYLOAD[:100], PAYLOAD[100:-100], PAYLOAD[-100:])
    frame = channel.receive(Ring(1, len(PAYLOAD)))
    sending.join()
    assert 1.1 * REST_S < frame.transfer_ns / 1e9 < 4 * REST_S


def test_silence_before_a_frame_is_not_its_transfer(ends: tuple[socket.socket, Channel]) -> None:
    sender, channel = ends
    sending = send_slowly(sender, b"", b"", HEADER + PAYLOAD)
    frame = channel.receive(Ring(1, len(PAYLOAD)))
    sending.join()
    assert frame.transfer_ns / 1e9 < REST_S


def test_waiting_for_a_free_buffer_is_not_its_transfer(ends: tuple[socket.socket, Channel]) -> None:
    sender, channel = ends
    ring = Ring(1, len(PAYLOAD))
    sending = send_slowly(sender, HEADER + PAYLOAD, HEADER + PAYLOAD)
    lent = channel.receive(ring)
    release = threading.Timer(3 * REST_S, lent.release)
    release.start()
    begin = time.monotonic()
    frame = channel.receive(ring)
    assert time.monotonic() - begin > 2 * REST_S
    assert frame.transfer_ns / 1e9 < REST_S
    sending.join()
