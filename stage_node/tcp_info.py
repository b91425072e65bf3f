"""What the sending kernel knows about the path: ``TCP_INFO`` of tcp(7)."""

import fcntl
import socket
import struct
import termios
from dataclasses import dataclass

_INFO = struct.Struct("=16x I 48x I 8x I 36x Q 20x I 8x Q")
"""Of ``struct tcp_info``, linux/tcp.h: snd_mss, rtt, snd_cwnd, bytes_acked, min_rtt,
delivery_rate."""

NO_RTT = 0xFFFFFFFF
WINDOW_LIMITED = 0.8
"""From this share of a window per round trip on, it is the window that sets the pace."""


@dataclass(frozen=True)
class PathEstimate:
    """Smoothed round-trip time and latest delivery rate; 0 before the first sample.

    The rate is what the peer acknowledged, over the time that took
    (draft-cheng-iccrg-delivery-rate-estimation). ``min_rtt_ms`` is of the latest minutes,
    ``window_bytes`` what may be in flight, ``acked_bytes`` counts since the connection began.
    """

    rtt_ms: float
    delivery_rate_mbit: float
    min_rtt_ms: float = 0.0
    window_bytes: int = 0
    acked_bytes: int = 0

    @property
    def window_limited(self) -> bool:
        """Whether a window per round trip is all that was delivered: the link may carry more."""
        window_mbit = self.window_bytes * 8e-3 / max(self.min_rtt_ms, 1e-3)
        return self.delivery_rate_mbit >= WINDOW_LIMITED * window_mbit


def path_estimate(sock: socket.socket) -> PathEstimate:
    """Ask the kernel."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    mss, rtt_us, window, acked, min_rtt_us, rate_bytes = _INFO.unpack(info)
    return PathEstimate(
        rtt_ms=rtt_us / 1e3,
        delivery_rate_mbit=rate_bytes * 8 / 1e6,
        min_rtt_ms=0.0 if min_rtt_us == NO_RTT else min_rtt_us / 1e3,
        window_bytes=window * mss,
        acked_bytes=acked,
    )


def unacknowledged_bytes(sock: socket.socket) -> int:
    """What the kernel holds to send, or has sent without an answer: ``SIOCOUTQ`` of tcp(7)."""
    (size,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))
    return int(size)
