"""What the sending kernel knows about the path: ``TCP_INFO`` of tcp(7)."""

import socket
import struct
from dataclasses import dataclass

_RTT = struct.Struct("=68x I")
_DELIVERY_RATE = struct.Struct("=160x Q")


@dataclass(frozen=True)
class PathEstimate:
    """Smoothed round-trip time and latest delivery rate; 0 before the first sample.

    The rate is what the peer acknowledged, over the time that took
    (draft-cheng-iccrg-delivery-rate-estimation).
    """

    rtt_ms: float
    delivery_rate_mbit: float


def path_estimate(sock: socket.socket) -> PathEstimate:
    """Ask the kernel; field offsets are those of ``struct tcp_info`` in linux/tcp.h."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _DELIVERY_RATE.size)
    (rtt_us,) = _RTT.unpack_from(info)
    (rate_bytes,) = _DELIVERY_RATE.unpack_from(info)
    return PathEstimate(rtt_us / 1e3, rate_bytes * 8 / 1e6)
