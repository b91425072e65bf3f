"""Activations of frozen layers, computed once and kept: training then starts at the fringe.

Layers before the fringe never change, so neither does what they make of an image. Augmented
images are kept in a few versions; training cycles through them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from controller.distillation.simplified import channels_last, folded
from stage_node.data import Dataset, SplitName
from stage_node.data.augmentation import augmented
from stage_node.models import ChainModel
from stage_node.models.frozen import frozen_sha256

BATCH = 250


@dataclass(frozen=True, eq=False)
class Activations:
    """Activations of a data set's split at one layer.

    ``activations`` (N, C, H, W), float16 where they are kept on disk, ``logits`` (N, classes) of
    the uncompressed model for the same images, ``labels`` (N,).
    """

    activations: Tensor
    logits: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def chosen(self, index: Tensor) -> "Activations":
        """Some of the images, in float32."""
        return Activations(self.activations[index].float(), self.logits[index], self.labels[index])


@dataclass(frozen=True, eq=False)
class ActivationCache:
    """The activations of ``model`` after the layer ``after``, in files under ``folder``.

    A file is named by the content it depends on: weights, layer, data set, split and version.
    """

    folder: Path
    model: ChainModel
    dataset: Dataset
    after: str

    def split(
        self,
        name: SplitName,
        version: int = 0,
        on_progress: Callable[[float], None] = lambda _: None,
    ) -> Activations:
        """One split, from its files or computed; version 0 is plain, others are augmented.

        ``on_progress`` receives the share that is done while it is computed.
        """
        paths = [self._path(name, version, what) for what in ("activations", "logits")]
        if not all(path.exists() for path in paths):
            self._compute(name, version, paths, on_progress)
        activations, logits = (np.load(path, mmap_mode="c") for path in paths)
        return Activations(
            torch.from_numpy(activations),
            torch.from_numpy(np.array(logits)),
            self.dataset.split(name).labels,
        )

    def _path(self, name: SplitName, version: int, what: str) -> Path:
        weights = frozen_sha256(self.model.state_dict())
        content = f"{weights} {self.after} {self.dataset.name} {name} {version}"
        key = hashlib.sha256(content.encode()).hexdigest()[:16]
        return self.folder / f"{key}-{name}-{version}-{what}.npy"

    @torch.inference_mode()
    def _compute(
        self,
        name: SplitName,
        version: int,
        paths: list[Path],
        on_progress: Callable[[float], None],
    ) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        cut = self.model.layer_names.index(self.after) + 1
        before = folded(self.model.segment(self.model.layer_names[:cut]))
        behind = folded(self.model.segment(self.model.layer_names[cut:]))
        split = self.dataset.split(name)
        shape = (len(split), *self.model.shapes()[self.after][1:])
        parts = [path.with_suffix(".part") for path in paths]
        kept = np.lib.format.open_memmap(parts[0], "w+", np.float16, shape)
        logits = []
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(version)
            for begin in range(0, len(split), BATCH):
                images = split.images[begin : begin + BATCH]
                if version:
                    images = augmented(images, self.dataset.max_shift, self.dataset.mirrors)
                activations = before(channels_last(images))
                kept[begin : begin + BATCH] = activations.half().numpy()
                logits.append(behind(activations))
                on_progress(min(1.0, (begin + BATCH) / len(split)))
        kept.flush()
        with parts[1].open("wb") as file:
            np.save(file, torch.cat(logits).numpy())
        for part, path in zip(parts, paths, strict=True):
            part.replace(path)
