"""Eq. 1 and Eq. 2 of the patent application (US 2025/0265465 A1, [0043]).

The controller forecasts by them what a choice of rungs saves; the analysis reports by them what a
run saved. Both are sums over the n connections between consecutive stages, in the same order
before and after compression.
"""

from collections.abc import Sequence


def bandwidth_reduction(
    uncompressed_bytes: Sequence[float], compressed_bytes: Sequence[float]
) -> float:
    """Eq. 1: sum of W_i - sum of P_i over all connections, bytes per inference."""
    return _reduction(uncompressed_bytes, compressed_bytes)


def latency_reduction(uncompressed_ms: Sequence[float], compressed_ms: Sequence[float]) -> float:
    """Eq. 2: sum of T_i - sum of L_i over all connections, ms."""
    return _reduction(uncompressed_ms, compressed_ms)


def _reduction(before: Sequence[float], after: Sequence[float]) -> float:
    if len(before) != len(after):
        raise ValueError(f"{len(before)} connections before compression, {len(after)} after")
    return sum(before) - sum(after)
