"""What a received frame says about its connection: the wait for its bytes, and nothing else."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from stage_node.wire.channel import Channel, Ring
from stage_node.wire.frame import FrameKind, Header

PAYLOAD = bytes(200_000)
HEADER = Header(kind=FrameKind.ACTIVATION, payload_bytes=len(PAYLOAD)).encode()
LIMITS = {FrameKind.ACTIVATION: len(PAYLOAD)}


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
            time.sleep(0.1)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


# Each is tried three times: a machine that stands still makes one a wait of its own, or hides one.
TRIES = 3


def test_bytes_that_come_late_are_waited_for(ends: tuple[socket.socket, Channel]) -> None:
    def tried() -> int:
        sender, channel = ends
        parts = (HEADER + PAYLOAD[:100], PAYLOAD[100:-100], PAYLOAD[-100:])
        sending = send_slowly(sender, *parts)
        frame = channel.receive(Ring(1, len(PAYLOAD)))
        sending.join()
        return frame.transfer_ns

    transfers_ns = [tried() for _ in range(TRIES)]
    assert any(0.19e9 < transfer_ns < 0.5e9 for transfer_ns in transfers_ns), transfers_ns


def test_silence_before_a_frame_is_not_its_transfer(ends: tuple[socket.socket, Channel]) -> None:
    def tried() -> int:
        sender, channel = ends
        sending = send_slowly(sender, b"", b"", HEADER + PAYLOAD)
        frame = channel.receive(Ring(1, len(PAYLOAD)))
        sending.join()
        return frame.transfer_ns

    assert min(tried() for _ in range(TRIES)) < 0.1e9


def test_waiting_for_a_free_buffer_is_not_its_transfer(ends: tuple[socket.socket, Channel]) -> None:
    def tried() -> int:
        sender, channel = ends
        ring = Ring(1, len(PAYLOAD))
        sending = send_slowly(sender, HEADER + PAYLOAD, HEADER + PAYLOAD)
        lent = channel.receive(ring)
        release = threading.Timer(0.4, lent.release)
        begin = time.monotonic()
        release.start()
        frame = channel.receive(ring)
        assert time.monotonic() - begin > 0.3
        sending.join()
        return frame.transfer_ns

    assert min(tried() for _ in range(TRIES)) < 0.1e9
