"""The ladder at a cut: nested rungs from no compression to one channel, and how to descend it.

The patent compresses "progressively" ([0037], [0039]); a ladder says what one step is. Rungs are
prefixes of one basis (controller/basis.py), so every rung is resident once the basis is.
"""

import math
from dataclasses import dataclass

FLOAT32_BYTES = 4


@dataclass(frozen=True)
class Rung:
    """One setting of a cut: ``width`` channels (``None``: identity, the cut is bypassed).

    ``payload_bytes`` is what it is expected to send per image, without frame headers.
    """

    name: str
    width: int | None
    payload_bytes: int


@dataclass(frozen=True)
class Ladder:
    """The rungs of one cut, the weakest compression first."""

    rungs: tuple[Rung, ...]

    @property
    def strongest(self) -> int:
        """Index of the last rung."""
        return len(self.rungs) - 1

    def weakest_within(self, payload_bytes: float) -> int | None:
        """Index of the first rung that sends at most so much, if any does."""
        return next(
            (i for i, rung in enumerate(self.rungs) if rung.payload_bytes <= payload_bytes), None
        )

    def step_down(self, good: int, broken: int | None, ratio: float) -> int | None:
        """The next rung to try below ``good``, or ``None`` when there is none left.

        While no rung is known to break the accuracy floor, a step goes to ``ratio`` times the
        bytes of ``good``; afterwards steps halve the distance to ``broken``, the weakest rung
        that did.
        """
        if broken is None:
            if good == self.strongest:
                return None
            coarse = self.weakest_within(self.rungs[good].payload_bytes * ratio)
            return self.strongest if coarse is None else coarse
        middle = (good + broken) // 2
        return None if middle == good else middle


def width_ladder(shape: tuple[int, ...]) -> Ladder:
    """Every width of an activation of ``shape`` (C, H, W) per image, in float32.

    The uncompressed cut comes first; the full width of the basis is left out, for it costs as
    many bytes and only adds rounding.
    """
    channels, *pixels = shape
    channel_bytes = math.prod(pixels) * FLOAT32_BYTES
    narrow = tuple(
        Rung(f"{width} of {channels} channels", width, width * channel_bytes)
        for width in range(channels - 1, 0, -1)
    )
    return Ladder((Rung("uncompressed", None, channels * channel_bytes), *narrow))
