"""Round trip of a link by ICMP echo, answered by the kernel of the other end (RFC 792)."""

import os
import socket
import struct
import time
from dataclasses import dataclass

from topologies.fidelity.probes.link_ends import Vantage
from topologies.fidelity.probes.stamps import STAMP_SPACE, enable_stamps, stamp_ns

ECHO_REPLY, ECHO_REQUEST = 0, 8
PAYLOAD_BYTES = 56  # ping's default
ECHO_FRAME_BYTES = 14 + 20 + 8 + PAYLOAD_BYTES
_HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence


@dataclass(frozen=True)
class Echoes:
    """Count of echoes ``sent`` and returned, and the shortest round trip, ms (None without one)."""

    sent: int
    received: int
    rtt_min_ms: float | None


def measure_echoes(
    sender: Vantage, receiver: Vantage, count: int, spacing_s: float, timeout_s: float
) -> Echoes:
    """Send echo requests ``spacing_s`` apart; wait up to ``timeout_s`` after the last one.

    The kernel stamps the replies as they arrive, so they are read when all have been sent.
    """
    identifier = os.getpid() & 0xFFFF
    sent_ns: list[int] = []
    rtt_ns: dict[int, int] = {}
    with sender.socket(socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        enable_stamps(raw)
        raw.connect((receiver.ip, 0))
        for sequence in range(count):
            request = echo_request(identifier, sequence)
            sent_ns.append(time.time_ns())
            raw.send(request)
            time.sleep(spacing_s)
        deadline = time.monotonic() + timeout_s
        while len(rtt_ns) < count and (left_s := deadline - time.monotonic()) > 0:
            raw.settimeout(left_s)
            try:
                packet, ancillary, _, _ = raw.recvmsg(2048, STAMP_SPACE)
            except TimeoutError:
                break
            echoed, received_ns = echoed_sequence(packet, identifier), stamp_ns(ancillary)
            if echoed is not None and received_ns is not None:
                rtt_ns[echoed] = received_ns - sent_ns[echoed]
    shortest_ms = min(rtt_ns.values()) / 1e6 if rtt_ns else None
    return Echoes(sent=count, received=len(rtt_ns), rtt_min_ms=shortest_ms)


def echo_request(identifier: int, sequence: int) -> bytes:
    """An ICMP echo request with ping's payload size."""
    payload = bytes(PAYLOAD_BYTES)
    bare = _HEADER.pack(ECHO_REQUEST, 0, 0, identifier, sequence) + payload
    checksum = internet_checksum(bare)
    return _HEADER.pack(ECHO_REQUEST, 0, checksum, identifier, sequence) + payload


def echoed_sequence(packet: bytes, identifier: int) -> int | None:
    """The sequence of an IPv4 packet that answers our request; ``None`` for any other."""
    header_bytes = (packet[0] & 0x0F) * 4
    if len(packet) < header_bytes + _HEADER.size:
        return None
    kind, _, _, its_identifier, sequence = _HEADER.unpack_from(packet, header_bytes)
    return sequence if (kind, its_identifier) == (ECHO_REPLY, identifier) else None


def internet_checksum(data: bytes) -> int:
    """One's complement of the one's complement sum of 16-bit words (RFC 1071)."""
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
