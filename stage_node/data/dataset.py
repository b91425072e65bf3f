"""Data sets, and their division into train, validation and test."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stage_node.errors import BadModelError
from stage_node.repository import REPOSITORY

SplitName = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Split:
    """Images (N, C, H, W) float32, normalised, and their labels (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> "Split":
        """The first images, or all where there are fewer."""
        return Split(self.images[:count], self.labels[:count])


@dataclass(frozen=True)
class Dataset:
    """A data set whose splits are read when they are first used.

    ``image_shape`` is (C, H, W); ``raw_bytes_per_image`` is what sending the raw image costs:
    one byte for each pixel and channel. ``max_shift`` (pixels) and ``mirrors`` say which changes
    leave the label as it is: how training data is augmented. Validation data is for every choice
    that is made; test data is for reporting only.
    """

    name: str
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    load_split: Callable[[SplitName], Split]
    max_shift: int = 0
    mirrors: bool = False

    @property
    def raw_bytes_per_image(self) -> int:
        """Bytes of one image before normalisation."""
        return int(np.prod(self.image_shape))

    @cached_property
    def train(self) -> Split:
        """Images that weights are trained on."""
        return self.load_split("train")

    @cached_property
    def validation(self) -> Split:
        """Images that choices are made on."""
        return self.load_split("validation")

    @cached_property
    def test(self) -> Split:
        """Images that are reported on; never used to choose anything."""
        return self.load_split("test")

    def limited(self, validation_images: int) -> "Dataset":
        """Return a copy with no more than the first N validation images, whose order means
        nothing."""

        def load_split(name: SplitName) -> Split:
            split = self.split(name)
            if name != "validation":
                return split
            return Split(split.images[:validation_images], split.labels[:validation_images])

        return replace(self, load_split=load_split)

    def split(self, name: SplitName) -> Split:
        """One split by name."""
        chosen: Split = getattr(self, name)
        return chosen


def normalised(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.integer],
    full_scale: int,
    mean: Sequence[float],
    deviation: Sequence[float],
) -> Split:
    """A split from pixels (N, H, W, C); mean and deviation are of pixels scaled to 0..1."""
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float()
    shape = (1, -1, 1, 1)
    offset = torch.tensor(mean).view(shape) * full_scale
    scale = torch.tensor(deviation).view(shape) * full_scale
    return Split((images - offset) / scale, torch.from_numpy(labels.astype(np.int64)))


def divide(
    pixels: NDArray[np.uint8], labels: NDArray[np.integer], sizes: Sequence[int]
) -> list[NDArray[np.int64]]:
    """Indices of disjoint stratified parts of the given sizes; the last part is what is left.

    Images are ranked by the SHA-256 of their pixels: the parts are the same whatever order an
    archive has them in, look shuffled, and hold copies of one image together.
    """
    digests = np.array([hashlib.sha256(image.tobytes()).hexdigest() for image in pixels])
    ranks = np.argsort(np.argsort(digests, kind="stable"))
    part = np.full(len(labels), len(sizes))
    for number, size in enumerate(sizes):
        free = part == len(sizes)
        for label, count in _apportion(labels[free], size).items():
            members = np.flatnonzero(free & (labels == label))
            part[members[np.argsort(ranks[members])[:count]]] = number
    order = np.argsort(ranks)
    return [order[part[order] == number] for number in range(len(sizes) + 1)]


def _apportion(labels: NDArray[np.integer], size: int) -> dict[int, int]:
    """Apportion ``size`` to the classes, by largest remainders."""
    values, counts = np.unique(labels, return_counts=True)
    shares = counts * size / len(labels)
    seats = np.floor(shares).astype(int)
    seats[np.argsort(seats - shares, kind="stable")[: size - seats.sum()]] += 1
    return dict(zip(values.tolist(), seats.tolist(), strict=True))


def data_folder() -> Path:
    """Default folder of archives and third-party weights: ``$CONCERTINA_DATA``, or
    the sibling folder ``shared/data`` of the repository."""
    if "CONCERTINA_DATA" in os.environ:
        return Path(os.environ["CONCERTINA_DATA"]).resolve()
    return REPOSITORY.parent / "shared" / "data"


def find_archive(names: Sequence[str], folder: Path | None) -> Path:
    """The first archive that exists; ``BadModelError`` names every place that was looked at."""
    folder = folder or data_folder()
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise BadModelError(
        f"none of {', '.join(names)} in {folder}; name its folder with CONCERTINA_DATA, or with "
        "--data-folder where a command has it"
    )
