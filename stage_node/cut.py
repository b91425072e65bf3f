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


class Pointwise(nn.Module):
    """The same affine map at every pixel: (N, C_in, H, W) to (N, C_out, H, W)."""

    def __init__(self, matrix: Tensor, bias: Tensor) -> None:
        """``matrix`` is (C_out, C_in), ``bias`` (C_out,)."""
        super().__init__()
        self.weight = nn.Parameter(matrix.detach().clone()[:, :, None, None])
        self.bias = nn.Parameter(bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map every pixel."""
        return F.conv2d(x, self.weight, self.bias)


@dataclass(frozen=True, eq=False)
class Cut:
    """Where the principal directions of a cut's activations point.

    ``basis`` (C, C) has orthonormal columns, the most important first; ``mean`` (C,) is the
    activation's mean per channel.
    """

    basis: Tensor
    mean: Tensor

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], channels: int) -> Self:
        """A cut from named tensors; ``BadModelError`` unless they fit ``channels``."""
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        expected = {"basis": (channels, channels), "mean": (channels,)}
        if shapes != expected:
            raise BadModelError(
                f"a cut of {channels} channels has tensors {expected}, not {shapes}"
            )
        for name, tensor in tensors.items():
            if tensor.dtype != torch.float32 or not tensor.isfinite().all():
                raise BadModelError(f"the cut's {name} is not finite float32")
        return cls(tensors["basis"], tensors["mean"])

    def encoder(self, width: int) -> Pointwise:
        """z = (x - mean) V for the first ``width`` columns V of the basis."""
        columns = self.basis[:, :width]
        return Pointwise(columns.T, -(self.mean @ columns))

    def decoder(self, width: int) -> Pointwise:
        """x' = z V^T + mean."""
        return Pointwise(self.basis[:, :width], self.mean)
