"""The live pipeline as the compression loop sees it; nothing here knows sockets."""

from dataclasses import dataclass
from typing import Literal, Protocol

from stage_node.wire.rung import Rung

Rungs = tuple[Rung, ...]
"""What crosses each cut."""

SplitName = Literal["validation", "test"]


@dataclass(frozen=True)
class CutObservation:
    """Traffic of one cut, per inference, measured by the stages on its two ends.

    ``size_bytes`` counts frame headers and payload at the sender. ``transfer_ms`` is how long the
    receiver waited for a payload whose header it had (median frame), shared by the frame's images:
    the bytes over the rate that the connection really gave them. (The sending kernel's delivery
    rate will not do: where frames leave one by one it is a frame over a whole round trip.)
    """

    size_bytes: float
    transfer_ms: float


@dataclass(frozen=True)
class Observation:
    """A steady window of the live pipeline under one generation.

    ``begin_ns`` and ``end_ns`` are the first and last admission of the frames counted.
    """

    generation: int
    rungs: Rungs
    split: SplitName
    correct: int
    samples: int
    latency_ms_median: float
    connections: tuple[CutObservation, ...]
    begin_ns: int
    end_ns: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the rungs."""
        return tuple(rung.name for rung in self.rungs)

    @property
    def accuracy(self) -> float:
        """Share of correct answers."""
        return self.correct / self.samples

    @property
    def size_bytes(self) -> float:
        """Bytes per inference over all cuts together: the sum of P_i in Eq. 1 ([0043])."""
        return sum(connection.size_bytes for connection in self.connections)


class Pipeline(Protocol):
    """A pipeline that serves without end while its cuts are changed."""

    def observe(self, rungs: Rungs, split: SplitName) -> Observation:
        """Switch to ``rungs`` as a new generation and measure it over a whole split."""
        ...

    def resume(self, generation: int) -> None:
        """Serve under an earlier generation again, on the validation split."""
        ...
