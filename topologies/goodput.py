"""TCP goodput of one direction of a link, measured so that the link is the only limit.

The probe keeps a fixed number of bytes between its two sockets, which suffices to keep the line
busy and does not overflow its queue. It reads rarely and much (``SO_RCVLOWAT``), because waking
up per packet is what limits a slow kernel. It uses Reno, because CUBIC's HyStart leaves slow
start early on purpose, and counts only what is sent once the congestion window is no limit.
"""

import fcntl
import socket
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from topologies.errors import EmulationError
from topologies.shaping import FRAME_BYTES, SEGMENT_BYTES
from topologies.vantage import Vantage

SIOCOUTQNSD = 0x894B  # linux/sockios.h: bytes TCP has not sent yet
SO_SNDBUFFORCE = 32  # asm-generic/socket.h; Python has no names for these two
SO_RCVBUFFORCE = 33
KERNEL_BYTES_PER_BYTE = 4  # of payload in a socket, for headers and half-filled pages
CONNECT_TIMEOUT_S = 20.0
STALL_TIMEOUT_S = 20.0
STEADY_S = 0.5
STEADY_SEGMENTS = 40
READS_PER_WINDOW = 8
LEAST_WINDOW_SEGMENTS = 4


@dataclass(frozen=True)
class Goodput:
    """Payload bytes that arrived over a duration.

    ``longest_pause_ms`` is the longest time between two reads: far above the usual distance it
    tells that the machine gave the emulation no CPU for so long.
    """

    size_bytes: int
    duration_s: float
    longest_pause_ms: float

    @property
    def mbit(self) -> float:
        """10^6 payload bits per second."""
        return self.size_bytes * 8 / self.duration_s / 1e6


def window_bytes(rate_mbit: float, delay_ms: float, buffer_bytes: int) -> int:
    """Payload to keep on the way: it fills the line and part of the queue.

    Almost the whole buffer where that covers the one-way bandwidth-delay product amply, since
    then not even a burst of everything at once overflows it; else the product and half of the
    buffer.
    """
    one_way = rate_mbit * 1e3 / 8 * delay_ms
    unlosable = 0.95 * buffer_bytes
    frames = unlosable if unlosable > 1.25 * one_way else one_way + buffer_bytes / 2
    return max(int(frames / FRAME_BYTES), LEAST_WINDOW_SEGMENTS) * SEGMENT_BYTES


def measure_goodput(sender: Vantage, receiver: Vantage, window: int) -> Goodput:
    """Bring one connection to its steady phase and time that; ``window`` is in bytes.

    Raises ``EmulationError`` if the connection cannot be made or stalls.
    """
    with _connection(sender, receiver, room=KERNEL_BYTES_PER_BYTE * window) as (out, into):
        low_water = max(window // READS_PER_WINDOW, SEGMENT_BYTES)
        into.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, low_water)
        # Written once, because a page's first use costs a fault, which is slow in a guest.
        # Reads end at the low-water mark: a read with room left goes on for as long as segments
        # keep arriving, and nothing is sent meanwhile.
        payload, buffer = memoryview(b"\x55" * window), bytearray(b"\x55" * low_water)
        sent = received = begin_bytes = begin_ns = now_ns = pause_ns = 0
        steady_from: int | None = None  # the byte from which on the window is the only limit
        while True:
            credit = received + window - sent
            # Whole segments only: Nagle's algorithm would hold a part of one back.
            sent += out.send(payload[: credit - credit % SEGMENT_BYTES])
            if steady_from is None and _count(out, SIOCOUTQNSD) == 0:
                steady_from = sent
            try:
                received += into.recv_into(buffer)
            except TimeoutError as error:
                raise EmulationError(f"the TCP connection to {receiver.ip} stalls") from error
            last_ns, now_ns = now_ns, time.monotonic_ns()
            if begin_ns:
                pause_ns = max(pause_ns, now_ns - last_ns)
                if (
                    now_ns - begin_ns >= STEADY_S * 1e9
                    and received - begin_bytes >= STEADY_SEGMENTS * SEGMENT_BYTES
                ):
                    arrived = received + _count(into, termios.FIONREAD) - begin_bytes
                    duration_ns = time.monotonic_ns() - begin_ns
                    return Goodput(arrived, duration_ns / 1e9, pause_ns / 1e6)
            elif steady_from is not None and received >= steady_from:
                begin_bytes = received + _count(into, termios.FIONREAD)
                begin_ns = time.monotonic_ns()


def _count(tcp: socket.socket, request: int) -> int:
    """Bytes in one of the socket's queues, by an ioctl(2) of tcp(7)."""
    return int.from_bytes(fcntl.ioctl(tcp, request, bytes(4)), sys.byteorder)


@contextmanager
def _connection(
    sender: Vantage, receiver: Vantage, room: int
) -> Iterator[tuple[socket.socket, socket.socket]]:
    with receiver.socket(socket.SOCK_STREAM) as listener, sender.socket(socket.SOCK_STREAM) as out:
        listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, room)
        listener.bind((receiver.ip, 0))
        listener.listen(1)
        out.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, room)
        out.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        out.settimeout(CONNECT_TIMEOUT_S)
        listener.settimeout(CONNECT_TIMEOUT_S)
        try:
            out.connect(listener.getsockname())
            into, _ = listener.accept()
        except OSError as error:
            raise EmulationError(f"no TCP connection to {receiver.ip}: {error}") from error
        with into:
            into.settimeout(STALL_TIMEOUT_S)
            segment = out.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            if segment != SEGMENT_BYTES:
                raise EmulationError(
                    f"TCP to {receiver.ip} has segments of {segment} bytes, not {SEGMENT_BYTES}"
                )
            yield out, into
