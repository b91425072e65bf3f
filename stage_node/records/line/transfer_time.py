"""Time that bytes take to cross a line of a constant rate, and the rate that a time shows.

A Mbit/s is 125 bytes in a millisecond. Sizes and rates either both count headers, or neither.
"""

from stage_node.records.line.ethernet import FRAME_BYTES, SEGMENT_BYTES


def serialisation_ms(size_bytes: float, rate_mbit: float) -> float:
    """Time that a line needs to put bytes on the wire, ms."""
    return size_bytes * 8e-3 / rate_mbit


def transfer_ms(size_bytes: float, rate_mbit: float, delay_ms: float) -> float:
    """Time from the first byte out to the last byte delivered, ms; ``delay_ms`` is one way."""
    return serialisation_ms(size_bytes, rate_mbit) + delay_ms


def transfer_mbit(size_bytes: float, duration_ms: float) -> float:
    """Rate at which a line carries bytes in a time, Mbit/s."""
    return size_bytes * 8e-3 / duration_ms


def bytes_per_ms(rate_mbit: float) -> float:
    """Bytes that a line carries in a millisecond."""
    return rate_mbit * 1e6 / 8 / 1e3


def ideal_goodput_mbit(rate_mbit: float) -> float:
    """TCP payload rate of a line kept full by full segments with timestamps, Mbit/s."""
    return rate_mbit * SEGMENT_BYTES / FRAME_BYTES
