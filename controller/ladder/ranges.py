"""Calibrated ranges: between which two values the levels of a quantiser lie, channel by channel.

A range that spans every value wastes levels on outliers. For each number of bits and each channel
the two ends are moved inwards to where the mean squared error of calibration activations is least
(as in Banner et al., NeurIPS 2019, by search in the place of their analytical fit).
"""

import torch
from torch import Tensor

from stage_node.wire.codecs import Ranges
from stage_node.wire.rung import QUANTISED

SHARES = tuple(1 - 0.06 * step for step in range(13))
"""How much of the way from the middle to the outermost value is tried."""


@torch.inference_mode()
def calibrated_ranges(vectors: Tensor) -> Tensor:
    """Ranges (4, 2, C), as ``cut.RANGES`` has them, of calibration vectors (N, C)."""
    return torch.stack([_least_error(vectors, bits) for bits in QUANTISED])


def _least_error(vectors: Tensor, bits: int) -> Tensor:
    lowest, highest = vectors.amin(0), vectors.amax(0)
    middle = vectors.median(0).values
    low = _best(vectors, bits, [(middle + (lowest - middle) * s, highest) for s in SHARES])[0]
    high = _best(vectors, bits, [(low, middle + (highest - middle) * s) for s in SHARES])[1]
    return torch.stack([low, high])


def _best(
    vectors: Tensor, bits: int, candidates: list[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    errors = []
    for low, high in candidates:
        ranges = Ranges(low, high)
        restored = ranges.restored(ranges.quantised(vectors, bits), bits)
        errors.append((restored - vectors).square().sum(0))
    chosen = torch.stack(errors).argmin(0)[None]
    lows, highs = (torch.stack(ends) for ends in zip(*candidates, strict=True))
    return lows.gather(0, chosen)[0], highs.gather(0, chosen)[0]
