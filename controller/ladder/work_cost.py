"""Cost of a piece of the controller's work: time, processor, memory."""

import resource
import time
from typing import Self

from pydantic import BaseModel, ConfigDict


class Cost(BaseModel):
    """Cost of some work to the process that did it.

    ``cpu_s`` counts all threads. ``peak_memory_mib`` is the largest resident set of the process so
    far, its imports and mapped files included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    duration_s: float
    cpu_s: float
    peak_memory_mib: float


class Meter:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._cpu_began_s = time.process_time()

    def cost(self: Self) -> Cost:
        """Cost of the work since then."""
        return Cost(
            duration_s=time.monotonic() - self._began_s,
            cpu_s=time.process_time() - self._cpu_began_s,
            peak_memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        )
