"""One-way loss of a link by small datagrams, sent and received here."""

import socket
import time
from dataclasses import dataclass

from stage_node.records.line.ethernet import DATAGRAM_HEADERS_BYTES, SMALLEST_FRAME_BYTES
from topologies.fidelity.probes.link_ends import Vantage

DATAGRAM_FRAME_BYTES = SMALLEST_FRAME_BYTES
PAYLOAD_BYTES = DATAGRAM_FRAME_BYTES - DATAGRAM_HEADERS_BYTES
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
RECEIVE_BUFFER_BYTES = 8 << 20  # nothing is read before all have been sent


@dataclass(frozen=True)
class Losses:
    """Count of datagrams sent, and of those that did not arrive."""

    sent: int
    lost: int


def measure_losses(
    sender: Vantage, receiver: Vantage, count: int, spacing_s: float, timeout_s: float
) -> Losses:
    """Send datagrams ``spacing_s`` apart; those missing ``timeout_s`` after the last are lost."""
    arrived = set()
    with sender.socket(socket.SOCK_DGRAM) as out, receiver.socket(socket.SOCK_DGRAM) as into:
        into.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        into.bind((receiver.ip, 0))
        out.connect(into.getsockname())
        begin = time.monotonic()
        for sequence in range(count):
            out.send(sequence.to_bytes(PAYLOAD_BYTES, "big"))
            time.sleep(max(0.0, begin + (sequence + 1) * spacing_s - time.monotonic()))
        time.sleep(timeout_s)
        into.setblocking(False)
        while True:
            try:
                arrived.add(into.recv(PAYLOAD_BYTES))
            except BlockingIOError:
                break
    return Losses(sent=count, lost=count - len(arrived))
