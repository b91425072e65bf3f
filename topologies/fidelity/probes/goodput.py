"""TCP goodput of one direction of a link, measured so that the link is the only limit.

The probe keeps a fixed number of bytes between its two sockets, which suffices to keep the line
busy and does not overflow its queue. It reads rarely and much (``SO_RCVLOWAT``), because waking
up per packet is what limits a slow kernel. It uses Reno, because CUBIC's HyStart leaves slow
start early on purpose, and counts only what is sent once the congestion window is no limit. Time is
what the kernel stamped on the first and the last segment counted.
"""

import fcntl
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise

from stage_node.records.line.ethernet import FRAME_BYTES, SEGMENT_BYTES
from stage_node.records.line.transfer_time import bytes_per_ms
from topologies.errors import EmulationError
from topologies.fidelity.probes.link_ends import Vantage
from topologies.fidelity.probes.stamps import STAMP_SPACE, enable_stamps, stamp_ns

SIOCOUTQNSD = 0x894B  # linux/sockios.h: bytes TCP has not sent yet
SO_SNDBUFFORCE = 32  # asm-generic/socket.h; Python has no names for these two
SO_RCVBUFFORCE = 33
KERNEL_BYTES_PER_BYTE = 4  # of payload in a socket, for headers and half-filled pages
CONNECT_TIMEOUT_S = 20.0
STALL_TIMEOUT = struct.pack("ll", 20, 0)  # a struct timeval
STEADY_S = 0.5
STEADY_SEGMENTS = 40
READS_PER_WINDOW = 8
LEAST_WINDOW_SEGMENTS = 4


@dataclass(frozen=True)
class Goodput:
    """Payload bytes that arrived over a duration.

    ``longest_pause_ms`` is by how much the longest time between two reads exceeds the mean: so long
    the machine gave the emulation no CPU.
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
    one_way = bytes_per_ms(rate_mbit) * delay_ms
    unlosable = 0.95 * buffer_bytes
    frames = unlosable if unlosable > 1.25 * one_way else one_way + buffer_bytes / 2
    return max(int(frames / FRAME_BYTES), LEAST_WINDOW_SEGMENTS) * SEGMENT_BYTES


def measure_goodput(sender: Vantage, receiver: Vantage, window: int) -> Goodput:
    """Bring one connection to its steady phase and time that; ``window`` is in bytes.

    Raises ``EmulationError`` if the connection cannot be made or stalls.
    """
    with _connection(sender, receiver, room=KERNEL_BYTES_PER_BYTE * window) as (out, tcp):
        into = _Receiver(tcp, window)
        # Written once, because a page's first use costs a fault, which is slow in a guest.
        payload = memoryview(b"\x55" * window)
        sent = 0
        steady_from: int | None = None  # the byte from which on the window is the only limit
        begin: tuple[int, int] | None = None
        reads_ns: list[int] = []
        while True:
            credit = into.received + window - sent
            # Whole segments only: Nagle's algorithm would hold a part of one back.
            sent += out.send(payload[: credit - credit % SEGMENT_BYTES])
            if begin is None:
                waiting = _unsent(out) > 0
                steady_from = None if waiting else (steady_from or sent)
            into.read()
            if begin is None:
                if steady_from is not None and into.received >= steady_from:
                    begin = into.arrived()
                    reads_ns.append(time.monotonic_ns())
                continue
            reads_ns.append(time.monotonic_ns())
            counted, elapsed_ns = into.received - begin[0], into.stamp_ns - begin[1]
            if counted >= STEADY_SEGMENTS * SEGMENT_BYTES and elapsed_ns >= STEADY_S * 1e9:
                end = into.arrived()
                return Goodput(
                    end[0] - begin[0], (end[1] - begin[1]) / 1e9, _longest_pause_ms(reads_ns)
                )


class _Receiver:
    """Reads a TCP connection by the low-water mark; all with the kernel's stamps.

    A read ends at the mark: with room left it would go on for as long as segments keep arriving,
    and nothing would be sent meanwhile. Nothing is copied: TCP discards on ``MSG_TRUNC``, tcp(7).
    """

    def __init__(self, tcp: socket.socket, window: int) -> None:
        low_water = max(window // READS_PER_WINDOW // SEGMENT_BYTES, 1) * SEGMENT_BYTES
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, low_water)
        enable_stamps(tcp)
        self._tcp = tcp
        self._room = memoryview(bytearray(window + low_water))
        self._low_water = low_water
        self.received = 0
        self.stamp_ns = 0

    def read(self) -> None:
        """Wait for the low-water mark, read a chunk."""
        try:
            self._read(self._room[: self._low_water], 0)
        except BlockingIOError as error:
            raise EmulationError("a TCP connection of the probe stalls") from error

    def arrived(self) -> tuple[int, int]:
        """Read all there is; bytes that have arrived, and when the last of them did."""
        with suppress(BlockingIOError):
            self._read(self._room, socket.MSG_DONTWAIT)
        return self.received, self.stamp_ns

    def _read(self, room: memoryview, flags: int) -> None:
        size_bytes, ancillary, _, _ = self._tcp.recvmsg_into(
            [room], STAMP_SPACE, flags | socket.MSG_TRUNC
        )
        self.received += size_bytes
        self.stamp_ns = stamp_ns(ancillary) or self.stamp_ns


def _longest_pause_ms(reads_ns: list[int]) -> float:
    gaps_ns = [late - early for early, late in pairwise(reads_ns)]
    return (max(gaps_ns) - sum(gaps_ns) / len(gaps_ns)) / 1e6


def _unsent(tcp: socket.socket) -> int:
    """Bytes that wait for the congestion window; see tcp(7)."""
    return int.from_bytes(fcntl.ioctl(tcp, SIOCOUTQNSD, bytes(4)), sys.byteorder)


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
            # The kernel's own timeouts: Python's would cost a poll per read.
            out.settimeout(None)
            into.settimeout(None)
            into.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, STALL_TIMEOUT)
            out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, STALL_TIMEOUT)
            segment = out.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            if segment != SEGMENT_BYTES:
                raise EmulationError(
                    f"TCP to {receiver.ip} has segments of {segment} bytes, not {SEGMENT_BYTES}"
                )
            yield out, into
