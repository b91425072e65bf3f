"""Latency of a frame: the one definition, for live figures and for the report alike."""

from typing import Any, Protocol, TypeVar


class ClockMoments(Protocol):
    """Moments of one clock, ns: a number, an array, a column or an expression over one."""

    def __sub__(self, other: Any, /) -> Any:
        """Return how long after ``other``."""
        ...


T = TypeVar("T", bound=ClockMoments)


def end_to_end_ns(t_admitted_ns: T, t_result_ns: T) -> T:
    """Time of a frame from its admission by the source to its result there, ns."""
    latency_ns: T = t_result_ns - t_admitted_ns
    return latency_ns
