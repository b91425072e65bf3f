"""The sending kernel's knowledge of the path: ``TCP_INFO`` of tcp(7)."""

import fcntl
import socket
import struct
import termios
from dataclasses import dataclass

_INFO = struct.Struct("=16x I 48x I 4x I I 36x Q 20x I 8x Q Q")
"""Of ``struct tcp_info``, linux/tcp.h: snd_mss, rtt, snd_ssthresh, snd_cwnd, bytes_acked, min_rtt,
delivery_rate, busy_time."""

NO_RTT = 0xFFFFFFFF
NO_THRESHOLD = 0x7FFFFFFF
QUEUED = 1.5
"""A round trip takes this many times its shortest, or more, where a queue has built up."""


@dataclass(frozen=True)
class PathEstimate:
    """Smoothed round-trip time and latest delivery rate; 0 before the first sample.

    The rate is what the peer acknowledged, over the time that took
    (draft-cheng-iccrg-delivery-rate-estimation). ``min_rtt_ms`` is of the latest minutes,
    ``window_bytes`` what may be in flight, ``acked_bytes`` counts since the connection began, and
    ``busy_ms`` is the time in which something was to be sent or acknowledged.
    """

    rtt_ms: float
    delivery_rate_mbit: float
    min_rtt_ms: float = 0.0
    window_bytes: int = 0
    acked_bytes: int = 0
    busy_ms: float = 0.0
    left_slow_start: bool = False

    @property
    def slow_start(self) -> bool:
        """Return True if only the window, which doubles each round trip, has set the pace so far.

        No longer once the kernel has left slow start, or a queue shows that the link is full.
        """
        return not self.left_slow_start and self.rtt_ms < QUEUED * self.min_rtt_ms


def path_estimate(sock: socket.socket) -> PathEstimate:
    """Ask the kernel."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    mss, rtt_us, threshold, window, acked, min_rtt_us, rate_bytes, busy_us = _INFO.unpack(info)
    return PathEstimate(
        rtt_ms=rtt_us / 1e3,
        delivery_rate_mbit=rate_bytes * 8 / 1e6,
        min_rtt_ms=0.0 if min_rtt_us == NO_RTT else min_rtt_us / 1e3,
        window_bytes=window * mss,
        acked_bytes=acked,
        busy_ms=busy_us / 1e3,
        left_slow_start=threshold < NO_THRESHOLD,
    )


def unacknowledged_bytes(sock: socket.socket) -> int:
    """Bytes that the kernel holds to send, or sent without an answer: ``SIOCOUTQ`` of tcp(7)."""
    (size,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))
    return int(size)
