"""The order of importance of the channels at a cut: a principal component analysis.

An activation ``x`` of ``C`` channels crosses a cut as ``z = (x - mean) @ vectors[:, :k]`` and is
restored as ``z @ vectors[:, :k].T + mean``. With the principal directions as columns every
prefix ``k`` is the best linear code of that width (Eckart and Young, Psychometrika 1, 1936), so
one basis serves a whole ladder of nested widths and a step down moves no weights.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from controller.ladder.ranges import calibrated_ranges
from controller.split.partition import Partition
from stage_node.fringe.cut import Cut
from stage_node.models import ChainModel

PIXELS_PER_BATCH = 512
"""Vectors of each calibration batch that the ranges are found with."""


@dataclass(frozen=True, eq=False)
class Basis:
    """Principal directions of an activation.

    ``mean`` (C,) and ``vectors`` (C, C) are float32, the columns orthonormal and in order of
    falling variance; ``variance_ratio`` (C,) is float64 and sums to 1 (all zero for a constant
    activation).
    """

    mean: Tensor
    vectors: Tensor
    variance_ratio: Tensor

    @property
    def channels(self) -> int:
        """Width of the uncompressed cut."""
        return self.mean.shape[0]


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean (C,) and scatter matrix (C, C) of vectors seen so far, in float64."""

    count: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def none(cls, channels: int) -> Self:
        """Start without data."""
        return cls(
            0,
            torch.zeros(channels, dtype=torch.float64),
            torch.zeros(channels, channels, dtype=torch.float64),
        )

    @classmethod
    def of(cls, activation: Tensor) -> Self:
        """Moments of one activation (N, C, ...): each of its pixels is one vector of channels."""
        vectors = activation.detach().double().movedim(1, -1).reshape(-1, activation.shape[1])
        mean = vectors.mean(dim=0)
        centred = vectors - mean
        return cls(len(vectors), mean, centred.T @ centred)

    def merged(self, other: Self) -> "Moments":
        """Moments of both sets together (Chan, Golub and LeVeque 1979: stable, one pass)."""
        count = self.count + other.count
        difference = other.mean - self.mean
        return Moments(
            count,
            self.mean + difference * (other.count / count),
            self.scatter
            + other.scatter
            + torch.outer(difference, difference) * (self.count * other.count / count),
        )


def principal_basis(moments: Moments) -> Basis:
    """The basis of the vectors counted in ``moments``.

    Directions have no sign of their own: the largest component of each is made positive, so that
    the same activations give the same basis everywhere.
    """
    variances, vectors = torch.linalg.eigh(moments.scatter)
    variances, vectors = variances.flip(0).clamp(min=0), vectors.flip(1)
    largest = vectors.abs().argmax(dim=0)
    signs = torch.where(vectors.gather(0, largest[None]) < 0, -1.0, 1.0).double()
    total = variances.sum()
    return Basis(
        mean=moments.mean.float(),
        vectors=(vectors * signs).float(),
        variance_ratio=variances / total if total > 0 else variances,
    )


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration of one cut from images: its basis, and some vectors (N, C) to find the
    ranges of its channels with."""

    basis: Basis
    vectors: Tensor

    @cached_property
    def cut(self) -> Cut:
        """The cut module with its ranges, as both of its sides hold it."""
        coordinates = (self.vectors - self.basis.mean) @ self.basis.vectors
        return Cut(
            basis=self.basis.vectors.contiguous(),
            mean=self.basis.mean,
            plain_ranges=calibrated_ranges(self.vectors),
            ranges=calibrated_ranges(coordinates),
        )


@torch.inference_mode()
def calibrate(
    model: ChainModel, partition: Partition, batches: Iterable[Tensor]
) -> tuple[Calibration, ...]:
    """One calibration per cut, from images (N, C, H, W) of the *training* split."""
    segments = [model.segment(stage) for stage in partition.stages[:-1]]
    shapes = model.shapes()
    moments = [Moments.none(shapes[cut][1]) for cut in partition.cuts]
    samples: list[list[Tensor]] = [[] for _ in partition.cuts]
    for activation in batches:
        for cut, segment in enumerate(segments):
            activation = segment(activation)
            moments[cut] = moments[cut].merged(Moments.of(activation))
            samples[cut].append(_some_pixels(activation))
    return tuple(
        Calibration(principal_basis(seen), torch.cat(some))
        for seen, some in zip(moments, samples, strict=True)
    )


def _some_pixels(activation: Tensor) -> Tensor:
    """A few hundred vectors of channels, evenly spread over images and places."""
    pixels = activation.movedim(1, -1).reshape(-1, activation.shape[1])
    return pixels[:: -(-len(pixels) // PIXELS_PER_BATCH)].clone()
