"""Bytes that a fixed bandwidth or latency leaves for an image (US 2025/0265465 A1, claim 7).

Configured rates count everything from the Ethernet header on (as netem does), so the headers of
every packet are taken off before a byte is given to the activation.
"""

import math

from controller.errors import BadTargetsError
from stage_node.records.line.ethernet import (
    FRAME_BYTES,
    SEGMENT_BYTES,
    SEGMENT_HEADERS_BYTES,
)
from stage_node.records.line.transfer_time import bytes_per_ms
from stage_node.wire.frame import HEADER_BYTES


def bytes_for_latency(
    latency_ms: float, rate_mbit: float, delay_ms: float = 0.0, images: int = 1
) -> float:
    """Payload per image, at most, of a frame of ``images`` that is across within ``latency_ms``.

    From its first byte out to its last byte delivered: ``delay_ms`` one way, and the time that a
    link of ``rate_mbit`` takes for the bytes. ``BadTargetsError`` where nothing is left.
    """
    if delay_ms >= latency_ms:
        raise BadTargetsError(
            f"{latency_ms:g} ms: the one-way delay alone is {delay_ms:g} ms; nothing is left for "
            "an activation"
        )
    return _payload_bytes(latency_ms - delay_ms, rate_mbit, images, f"{latency_ms:g} ms")


def bytes_for_bandwidth(inferences_per_s: float, rate_mbit: float, images: int = 1) -> float:
    """Payload per image, at most, with which a link of ``rate_mbit`` carries that many inferences.

    ``images`` share a frame. ``BadTargetsError`` where nothing is left.
    """
    wanted = f"{inferences_per_s:g} inferences per second"
    busy_ms = 1e3 * images / inferences_per_s if inferences_per_s else math.inf
    return _payload_bytes(busy_ms, rate_mbit, images, wanted)


def _payload_bytes(busy_ms: float, rate_mbit: float, images: int, wanted: str) -> float:
    """Bytes per image of a frame that keeps the link busy for ``busy_ms``."""
    if not 0 < rate_mbit < math.inf or busy_ms == math.inf:
        raise BadTargetsError(f"{wanted} at {rate_mbit:g} Mbit/s sets no limit to the bytes")
    wire_bytes = int(busy_ms * bytes_per_ms(rate_mbit))
    full, rest = divmod(wire_bytes, FRAME_BYTES)
    frame_bytes = full * SEGMENT_BYTES + max(0, rest - SEGMENT_HEADERS_BYTES)
    payload_bytes = (frame_bytes - HEADER_BYTES) / images
    if payload_bytes < 1:
        raise BadTargetsError(
            f"{wanted}: a link of {rate_mbit:g} Mbit/s has {wire_bytes} bytes of time for a frame "
            f"of {images} images, headers included; nothing is left for an activation"
        )
    return payload_bytes
