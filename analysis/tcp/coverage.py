"""Coverage of a stream by a capture: its bytes, their times and repetitions."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.capture.frames import Int64s

NEVER: int = np.iinfo(np.int64).max
"""The time of something that the capture does not hold: it compares as later than all times."""


@dataclass(frozen=True)
class Coverage:
    """When each byte of a stream was first seen, and when all bytes up to it had been.

    Between ``edges[i]`` and ``edges[i + 1]`` all bytes share one history: first seen at
    ``first_ns[i]`` (``NEVER``: not seen), complete from offset 0 on at ``complete_ns[i]``.
    ``payload`` and ``wire`` are cumulative at the edges: bytes seen before this offset with
    repetitions, and the same with the headers of the packets that carried them. ``repeated`` is
    per segment: how many of its bytes an earlier one had carried.
    """

    edges: Int64s
    first_ns: Int64s
    complete_ns: Int64s
    payload: npt.NDArray[np.float64]
    wire: npt.NDArray[np.float64]
    repeated: Int64s

    @classmethod
    def of(cls, t_ns: Int64s, begin: Int64s, end: Int64s, wirelen: Int64s) -> "Coverage":
        """Build from data segments: times, first and end offsets, sizes on the wire."""
        edges = np.unique(np.concatenate([np.zeros(1, np.int64), begin, end]))
        lowest, highest = np.searchsorted(edges, begin), np.searchsorted(edges, end)
        spans = highest - lowest
        packet = np.repeat(np.arange(len(t_ns)), spans)
        nth_of_packet = np.arange(len(packet)) - np.repeat(np.cumsum(spans) - spans, spans)
        interval = lowest[packet] + nth_of_packet
        sizes = np.diff(edges)
        first_ns = np.full(len(sizes), NEVER)
        np.minimum.at(first_ns, interval, t_ns[packet])
        first_packet = np.full(len(sizes), len(t_ns))
        np.minimum.at(first_packet, interval, packet)
        again = np.where(first_packet[interval] < packet, sizes[interval], 0)
        seen = np.bincount(interval, minlength=len(sizes)) * sizes
        per_byte = wirelen / np.maximum(end - begin, 1)
        wire = np.bincount(interval, weights=per_byte[packet], minlength=len(sizes)) * sizes
        return cls(
            edges,
            first_ns,
            np.maximum.accumulate(first_ns),
            np.concatenate([[0.0], np.cumsum(seen)]),
            np.concatenate([[0.0], np.cumsum(wire)]),
            np.bincount(packet, weights=again, minlength=len(t_ns)).astype(np.int64),
        )

    def first_seen(self, offsets: Int64s) -> Int64s:
        """Time at which the byte at each offset was first seen."""
        if not len(self.first_ns):
            return np.full(np.shape(offsets), NEVER)
        interval = np.searchsorted(self.edges, offsets, side="right") - 1
        inside = (interval >= 0) & (interval < len(self.first_ns))
        return np.where(inside, self.first_ns[np.clip(interval, 0, len(self.first_ns) - 1)], NEVER)

    def complete_before(self, ends: Int64s) -> Int64s:
        """Time at which all bytes before each (exclusive, positive) offset had been seen."""
        if not len(self.complete_ns):
            return np.full(np.shape(ends), NEVER)
        interval = np.searchsorted(self.edges, ends, side="left") - 1
        inside = (interval >= 0) & (interval < len(self.complete_ns))
        return np.where(
            inside, self.complete_ns[np.clip(interval, 0, len(self.complete_ns) - 1)], NEVER
        )

    def payload_between(self, begin: Int64s, end: Int64s) -> Int64s:
        """Payload bytes seen of each offset range, repetitions counted."""
        return self._between(self.payload, begin, end)

    def wire_between(self, begin: Int64s, end: Int64s) -> Int64s:
        """Bytes on the wire for each offset range, a packet's headers spread over its payload."""
        return self._between(self.wire, begin, end)

    def _between(self, total: npt.NDArray[np.float64], begin: Int64s, end: Int64s) -> Int64s:
        difference = np.interp(end, self.edges, total) - np.interp(begin, self.edges, total)
        return np.rint(difference).astype(np.int64)
