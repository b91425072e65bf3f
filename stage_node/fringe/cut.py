"""The cut: an encoder before the link and a decoder after it, each a 1x1 convolution.

Cutting a residual network's own channels drags in the whole residual stage, so the cut brings its
own channels: coordinates of each pixel in a basis ordered by importance (its principal
directions). Sending the first ``width`` of them is the best linear compression to that many
channels (Eckart and Young, 1936), and every narrower width is a prefix of every wider one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stage_node.errors import BadModelError
from stage_node.wire.codecs import Ranges
from stage_node.wire.rung import QUANTISED


class Pointwise(nn.Module):
    """An affine map, the same at every pixel: (N, C_in, H, W) to (N, C_out, H, W)."""

    def __init__(self, matrix: Tensor, bias: Tensor) -> None:
        """``matrix`` is (C_out, C_in), ``bias`` (C_out,)."""
        super().__init__()
        self.weight = nn.Parameter(matrix.detach().clone()[:, :, None, None])
        self.bias = nn.Parameter(bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map every pixel."""
        return F.conv2d(x, self.weight, self.bias)


RANGES = ("plain_ranges", "ranges")
"""Optional tensors of a cut, (4, 2, C): for each of ``QUANTISED`` bits low and high per channel, of
the activation as it is and of its coordinates in the basis."""
ORDER = "order"
"""Optional tensor of a cut, (C,) int64: its channels, the most important first."""


@dataclass(frozen=True, eq=False)
class Cut:
    """Principal directions of a cut's activations, and their reach.

    ``basis`` (C, C) has orthonormal columns, the most important first; ``mean`` (C,) is the
    activation's mean per channel. Without ``plain_ranges`` and ``ranges`` (see ``RANGES``)
    nothing can be quantised, without ``order`` no channels can be left out. Where the sending layer
    computes some channels alone, ``kept`` (K,) has their ascending indices; the others count as
    being at their means.
    """

    basis: Tensor
    mean: Tensor
    plain_ranges: Tensor | None = None
    ranges: Tensor | None = None
    order: Tensor | None = None

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], channels: int) -> Self:
        """A cut from named tensors; ``BadModelError`` unless they fit ``channels``."""
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        expected: dict[str, tuple[int, ...]] = {"basis": (channels, channels), "mean": (channels,)}
        if any(name in tensors for name in RANGES):
            expected |= dict.fromkeys(RANGES, (len(QUANTISED), 2, channels))
        if ORDER in tensors:
            expected[ORDER] = (channels,)
        if shapes != expected:
            raise BadModelError(
                f"a cut of {channels} channels has tensors {expected}, not {shapes}"
            )
        for name, tensor in tensors.items():
            if name == ORDER:
                _check_order(tensor)
            elif tensor.dtype != torch.float32 or not tensor.isfinite().all():
                raise BadModelError(f"the cut's {name} is not finite float32")
        return cls(**tensors)

    def tensors(self) -> dict[str, Tensor]:
        """Tensors for ``from_tensors``."""
        own = {
            "basis": self.basis,
            "mean": self.mean,
            "plain_ranges": self.plain_ranges,
            "ranges": self.ranges,
            ORDER: self.order,
        }
        return {name: tensor for name, tensor in own.items() if tensor is not None}

    def kept(self, channels: int) -> Tensor:
        """Ascending indices of the most important channels; ``BadModelError`` without an order."""
        if self.order is None or not 1 <= channels <= len(self.order):
            raise BadModelError(
                f"the cut has {0 if self.order is None else len(self.order)} channels in an order "
                f"of importance: not {channels} to keep"
            )
        return self.order[:channels].sort().values

    def encoder(self, width: int, kept: Tensor | None = None) -> Pointwise:
        """z = (x - mean) V for the first ``width`` columns V of the basis."""
        columns, mean = self._rows(width, kept)
        return Pointwise(columns.T, -(mean @ columns))

    def decoder(self, width: int, kept: Tensor | None = None) -> Pointwise:
        """x' = z V^T + mean."""
        return Pointwise(*self._rows(width, kept))

    def ranges_of(self, width: int | None, bits: int, kept: Tensor | None = None) -> Ranges | None:
        """Levels of each channel that is sent; None if nothing is quantised.

        ``BadModelError`` when no ranges were calibrated.
        """
        if bits not in QUANTISED:
            return None
        table = self.plain_ranges if width is None else self.ranges
        if table is None:
            raise BadModelError("the cut has no calibrated ranges: nothing can be quantised")
        ends = table[QUANTISED.index(bits)]
        low, high = ends[:, :width] if kept is None or width is not None else ends[:, kept]
        return Ranges(low.contiguous(), high.contiguous())

    def _rows(self, width: int, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        """Select the kept channels' rows of the first columns of the basis, and their means."""
        columns = self.basis[:, :width]
        return (columns, self.mean) if kept is None else (columns[kept], self.mean[kept])


def _check_order(order: Tensor) -> None:
    if order.dtype != torch.int64 or order.sort().values.tolist() != list(range(len(order))):
        raise BadModelError("the cut's order is no permutation of its channels")
