"""The two clocks of a run: captures have CLOCK_REALTIME, ledger and events CLOCK_MONOTONIC."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stage_node.records.machine import ClockPair


@dataclass(frozen=True)
class Clock:
    """Both clocks read at the same moments, in the order of time, at least once."""

    monotonic_ns: tuple[int, ...]
    realtime_ns: tuple[int, ...]

    @classmethod
    def of(cls, pairs: Iterable[ClockPair]) -> "Clock":
        """Make the clock of the manifest's pairs, at least one."""
        ordered = sorted(pairs, key=lambda pair: pair.realtime_ns)
        return cls(
            tuple(pair.monotonic_ns for pair in ordered),
            tuple(pair.realtime_ns for pair in ordered),
        )

    def to_monotonic(self, realtime_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Translate times of captures; the distance of the clocks is interpolated linearly."""
        start, distance = self.realtime_ns[0], self.realtime_ns[0] - self.monotonic_ns[0]
        # Relative to the first pair the numbers are small enough for floats to be exact.
        moments = np.array([realtime - start for realtime in self.realtime_ns], np.float64)
        changes = np.array(
            [r - m - distance for r, m in zip(self.realtime_ns, self.monotonic_ns, strict=True)],
            np.float64,
        )
        change = np.rint(np.interp(realtime_ns - start, moments, changes)).astype(np.int64)
        return realtime_ns - distance - change
