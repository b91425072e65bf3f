"""Frames over a real TCP connection: whole, in order, in bounded memory."""

import fcntl
import queue
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stage_node.errors import ContractMismatchError, PeerLostError, WireError
from stage_node.records.ledger import Ledger
from stage_node.wire.channel import UNSENT_BYTES, Channel, Frame, Ring
from stage_node.wire.connection import greet
from stage_node.wire.contract import HELLO_LIMITS, Hello
from stage_node.wire.frame import HEADER_BYTES, FrameKind, Header
from stage_node.wire.frame_log import FrameLog

SIOCOUTQNSD = 0x894B
"""Bytes in the socket's buffer that were not sent yet, tcp(7)."""

LIMITS = {FrameKind.ACTIVATION: 1 << 22, FrameKind.END: 0}
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs = listener.accept()[0]
    with ours, theirs:
        yield ours, theirs


def frame(payload: bytes, sequence: int = 0) -> tuple[Header, bytes]:
    header = Header(kind=FrameKind.ACTIVATION, payload_bytes=len(payload), sequence=sequence)
    return header, payload


def test_frames_of_any_size_arrive_whole_and_in_order(pair: Pair, tmp_path: Path) -> None:
    """Sizes up and down, so that the low-water mark is raised and lowered: a frame smaller than
    the mark left by the last one would never wake its reader."""
    sizes = [0, 1, 3_000_000, 2, 64, 65, 700_000, 0, 0, 1_000_000, 5] * 2
    sender, receiver = Channel(pair[0], {}), Channel(pair[1], LIMITS)
    payloads = [bytes([index]) * size for index, size in enumerate(sizes)]

    def send() -> None:
        for index, payload in enumerate(payloads):
            sender.send(*frame(payload, index))
            if index % 3 == 0:
                time.sleep(0.002)  # let the reader fall asleep between frames now and then

    threading.Thread(target=send).start()
    ring = Ring(2, 1 << 22)
    for index, payload in enumerate(payloads):
        received = receiver.receive(ring)
        assert received.header.sequence == index
        assert received.payload == payload
        received.release()


def test_a_peer_that_dribbles_is_understood(pair: Pair) -> None:
    stream = b"".join(header.encode() + body for header, body in (frame(b"abc"), frame(b"defg")))

    def dribble() -> None:
        pair[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in stream:
            pair[0].send(bytes([byte]))

    threading.Thread(target=dribble).start()
    receiver = Channel(pair[1], LIMITS)
    assert [bytes(receiver.receive().payload) for _ in range(2)] == [b"abc", b"defg"]


def test_the_reader_is_woken_once_per_frame_not_once_per_packet(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, body = frame(bytes(30_000))
    stream = header.encode() + body
    naps: list[float | None] = []

    class CountingPoll:
        def __init__(self) -> None:
            self.register, self._poll = (poll := real_poll()).register, poll

        def poll(self, timeout_ms: float | None) -> list[tuple[int, int]]:
            naps.append(timeout_ms)
            return self._poll.poll(timeout_ms)

    def send_in_packets() -> None:
        pair[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for first in range(0, len(stream), 1000):
            pair[0].sendall(stream[first : first + 1000])
            time.sleep(0.001)

    real_poll = select.poll
    monkeypatch.setattr(select, "poll", CountingPoll)
    receiver = Channel(pair[1], LIMITS)
    threading.Thread(target=send_in_packets).start()
    assert len(receiver.receive().payload) == 30_000
    assert len(naps) <= 2, "one for the header, one for everything else"


def test_many_frames_in_one_segment_are_told_apart(pair: Pair) -> None:
    bodies = [b"x" * size for size in (5, 0, 1, 100, 64, 0)]
    pair[0].sendall(b"".join(header.encode() + body for header, body in map(frame, bodies)))
    receiver = Channel(pair[1], LIMITS)
    assert [bytes(receiver.receive().payload) for _ in bodies] == bodies


def test_a_slow_reader_gets_everything_despite_partial_sends(pair: Pair) -> None:
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sender, payload = Channel(pair[0], {}), bytes(range(256)) * 4000
    thread = threading.Thread(target=sender.send, args=frame(payload))
    thread.start()
    received = bytearray()
    while len(received) < HEADER_BYTES + len(payload):
        received += pair[1].recv(10_000)
    thread.join()
    assert received[HEADER_BYTES:] == payload


def test_little_waits_unsent_in_the_kernel(pair: Pair) -> None:
    """The reader sleeps; the kernel's send buffer would take megabytes."""
    sender = Channel(pair[0], {})
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 300_000))
    with pytest.raises(PeerLostError):
        while True:
            sender.send(*frame(bytes(100_000)))
    unsent = struct.unpack("i", fcntl.ioctl(pair[0], SIOCOUTQNSD, bytes(4)))[0]
    assert 0 < unsent < UNSENT_BYTES + 64 * 1024  # the last write may overshoot by one buffer


def test_a_hostile_size_is_refused_before_any_memory_is_taken(pair: Pair) -> None:
    pair[0].sendall(Header(kind=FrameKind.ACTIVATION, payload_bytes=1 << 50).encode())
    with pytest.raises(WireError, match="at most 4194304 allowed"):
        Channel(pair[1], LIMITS).receive()


def test_a_kind_out_of_place_is_refused(pair: Pair) -> None:
    pair[0].sendall(Header(kind=FrameKind.WEIGHTS, payload_bytes=10).encode())
    with pytest.raises(WireError, match="unexpected WEIGHTS"):
        Channel(pair[1], LIMITS).receive()


@pytest.mark.parametrize("cut_off", [0, 10, HEADER_BYTES, HEADER_BYTES + 3])
def test_a_connection_that_ends_is_an_error(pair: Pair, cut_off: int) -> None:
    header, body = frame(b"payload")
    pair[0].sendall((header.encode() + body)[:cut_off])
    pair[0].close()
    with pytest.raises(PeerLostError, match="closed"):
        Channel(pair[1], LIMITS).receive()


def test_a_silent_peer_is_given_up_in_time(pair: Pair) -> None:
    receiver = Channel(pair[1], LIMITS)
    receiver.set_receive_timeout(0.05)
    with pytest.raises(PeerLostError, match="no answer in time"):
        receiver.receive()


def test_a_waiting_reader_can_be_interrupted(pair: Pair) -> None:
    receiver = Channel(pair[1], LIMITS)
    threading.Timer(0.05, receiver.interrupt).start()
    with pytest.raises(PeerLostError):
        receiver.receive()


def test_a_buffer_is_not_written_before_it_was_released(pair: Pair) -> None:
    sender, receiver, ring = Channel(pair[0], {}), Channel(pair[1], LIMITS), Ring(2, 16)
    for text in (b"first", b"second", b"third"):
        sender.send(*frame(text))
    arrived: queue.Queue[Frame] = queue.Queue()
    thread = threading.Thread(
        target=lambda: [arrived.put(receiver.receive(ring)) for _ in range(3)], daemon=True
    )
    thread.start()
    first, second = arrived.get(timeout=5), arrived.get(timeout=5)
    thread.join(0.1)
    assert thread.is_alive(), "the third frame has no buffer yet"
    assert (bytes(first.payload), bytes(second.payload)) == (b"first", b"second")
    first.release()
    third = arrived.get(timeout=5)
    assert (bytes(second.payload), bytes(third.payload)) == (b"second", b"third")
    assert bytes(first.payload) == b"third", "the released buffer was used again, not a new one"


def test_the_ledger_counts_from_the_first_byte(pair: Pair, tmp_path: Path) -> None:
    ledger = Ledger("node", tmp_path)
    logs = [FrameLog.of(ledger, 3, end) for end in pair]
    sender, receiver = Channel(pair[0], {}, logs[0]), Channel(pair[1], LIMITS, logs[1])
    before = time.monotonic_ns()
    for sequence, size in enumerate((10, 0, 300)):
        sender.send(*frame(bytes(size), sequence), t_queued_ns=before)
        receiver.receive()
    sent, received = logs[0].table(), logs[1].table()
    ends = [64 + 10, 64 + 10 + 64, 64 + 10 + 64 + 64 + 300]
    for table in (sent, received):
        assert table["first_byte"].tolist() == [0, *ends[:-1]]
        assert table["end_byte"].tolist() == ends
        assert set(table["kind"]) == {b"activation"}
        assert set(table["cut"]) == {3}
    assert sent["local_port"][0] == received["peer_port"][0] == pair[0].getsockname()[1]
    assert (sent["t_queued_ns"] <= sent["t_begin_ns"]).all()
    assert (sent["t_begin_ns"] <= received["t_end_ns"]).all()
    assert (received["t_begin_ns"] <= received["t_end_ns"]).all()


def greeting(model_hash: str) -> Hello:
    return Hello(
        purpose="results",
        name=f"host of {model_hash}",
        model_hash=model_hash,
        sender_stage=1,
        receiver_stage=0,
        contract=None,
    )


def test_both_sides_learn_that_they_do_not_agree(pair: Pair) -> None:
    errors: queue.Queue[Exception] = queue.Queue()

    def other_side() -> None:
        try:
            greet(Channel(pair[1], HELLO_LIMITS), greeting("beef"))
        except ContractMismatchError as error:
            errors.put(error)

    threading.Thread(target=other_side).start()
    with pytest.raises(ContractMismatchError, match="model_hash: cafe here, beef there"):
        greet(Channel(pair[0], HELLO_LIMITS), greeting("cafe"))
    assert "model_hash: beef here, cafe there" in str(errors.get(timeout=5))
