"""The oracle's knowledge: the true rates of a connection over time; pure."""

import bisect
import math

from pydantic import BaseModel, ConfigDict, Field


class KnownRates(BaseModel):
    """A connection's bottleneck: ``mbit[i]`` from ``times_ms[i]`` on, the first at 0; the last
    stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    times_ms: tuple[float, ...] = Field(min_length=1)
    mbit: tuple[float, ...] = Field(min_length=1)

    def at(self, t_ms: float) -> float:
        """The rate at a time, Mbit/s."""
        return self.mbit[self._index(t_ms)]

    def transfer_ms(self, size_bytes: float, t_ms: float) -> float:
        """Transfer time, ms, of bytes that begin to cross at ``t_ms``."""
        left_bits, now_ms = size_bytes * 8.0, t_ms
        for index in range(self._index(t_ms), len(self.mbit)):
            last = index + 1 == len(self.mbit)
            until_ms = math.inf if last else self.times_ms[index + 1]
            done_ms = left_bits / (self.mbit[index] * 1e3)
            if now_ms + done_ms <= until_ms:
                return now_ms + done_ms - t_ms
            left_bits -= self.mbit[index] * 1e3 * (until_ms - now_ms)
            now_ms = until_ms
        raise AssertionError("the last rate stays for ever")

    def _index(self, t_ms: float) -> int:
        return max(0, bisect.bisect_right(self.times_ms, t_ms) - 1)
