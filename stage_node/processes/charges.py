"""Charges of computing on the device that a host stands for: declared, not measured.

On a virtual clock computing takes no time, so a device's time has to be told: after the real
computation the thread sleeps until the declared time has passed. On the real clock nothing is
charged. What the charges do not know is an error, never a silent zero.
"""

import ctypes
import time
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from stage_node.errors import StageNodeError
from stage_node.wire.rung import Rung

PR_SET_TIMERSLACK = 29  # linux/prctl.h


class UnknownChargeError(StageNodeError):
    """A charge is missing for something that is to be charged."""


class StageCharges(BaseModel):
    """Charges of a stage's work on its device.

    ``forward_ms`` is of its layers, by images of a frame; between two of them it grows linearly.
    ``encode_ms`` and ``decode_ms`` are per image, by the name of the rung of the cut behind the
    stage and before it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    forward_ms: dict[int, float]
    encode_ms: dict[str, float] = {}
    decode_ms: dict[str, float] = {}

    def of_forward(self, images: int) -> float:
        """Milliseconds of the stage's layers for a frame of ``images``."""
        return interpolated(self.forward_ms, images)

    def of_encoding(self, rung: Rung, images: int) -> float:
        """Milliseconds of encoding a frame of ``images`` under a rung."""
        return known_ms(self.encode_ms, rung.name, "encoding under") * images

    def of_decoding(self, rung: Rung, images: int) -> float:
        """Milliseconds of decoding a frame of ``images`` under a rung."""
        return known_ms(self.decode_ms, rung.name, "decoding under") * images


def known_ms(by_name: Mapping[str, float], name: str, what: str) -> float:
    """Milliseconds under a name; ``UnknownChargeError`` says of what, where there is none."""
    try:
        return by_name[name]
    except KeyError:
        raise UnknownChargeError(f"there is no charge for {what} {name!r} takes") from None


def interpolated(by_images: Mapping[int, float], images: int) -> float:
    """Milliseconds for a batch of ``images``: as known, or linear between the nearest two that are.

    ``UnknownChargeError`` for more images than the largest known batch, or fewer than the smallest.
    """
    if images in by_images:
        return by_images[images]
    below = max((size for size in by_images if size < images), default=None)
    above = min((size for size in by_images if size > images), default=None)
    if below is None or above is None:
        sizes = ", ".join(map(str, sorted(by_images))) or "none"
        raise UnknownChargeError(
            f"there is no charge for a batch of {images} images takes (known are: {sizes})"
        )
    share = (images - below) / (above - below)
    return by_images[below] + share * (by_images[above] - by_images[below])


def sleep_exactly() -> None:
    """Have sleeps of this thread, and of those that it starts from now on, end when they should.

    By default the kernel may let them last 50 us longer, to wake up several threads at once; of a
    forward of a millisecond that is 5 %.
    """
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)


def spend(begin_ns: int, charge_ms: float) -> None:
    """Sleep until ``charge_ms`` milliseconds have passed since ``begin_ns`` (monotonic)."""
    left_s = charge_ms / 1e3 - (time.monotonic_ns() - begin_ns) / 1e9
    if left_s > 0:
        time.sleep(left_s)
