"""CIFAR-10 (Krizhevsky, 2009) from an archive that lies on this machine.

Three forms are understood: the published ``cifar-10-binary.tar.gz`` and
``cifar-10-python.tar.gz`` (https://www.cs.toronto.edu/~kriz/cifar.html), and
``cifar10-lossless.zip``, the same pixels in lossless image strips, one class after the other.
"""

import hashlib
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stage_node.data.dataset import (
    Dataset,
    Split,
    SplitName,
    divide,
    find_archive,
    normalised,
)
from stage_node.errors import BadModelError

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
VALIDATION_SHARE = 10  # one in N images of the published train part
# As in torchvision's recipes, so that third-party checkpoints fit.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Part = Literal["train", "test"]
Pixels = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Images (N, 32, 32, 3) and labels (N,)."""


def load_cifar10(folder: Path | None = None) -> Dataset:
    """CIFAR-10: train 45,000, validation 5,000 (out of the published train part), test 10,000."""
    archive = find_archive(tuple(READERS), folder)
    read = READERS[archive.name]

    def load_split(name: SplitName) -> Split:
        pixels, labels = read(archive, "test" if name == "test" else "train")
        validation, train = divide(
            pixels, labels, (0 if name == "test" else len(labels) // VALIDATION_SHARE,)
        )
        chosen = validation if name == "validation" else train
        return normalised(pixels[chosen], labels[chosen], 255, MEAN, DEVIATION)

    return Dataset("cifar10", CLASSES, (3, 32, 32), load_split, max_shift=4, mirrors=True)


def _read_binary(archive: Path, part: Part) -> Pixels:
    """Records of one label byte and 3072 pixel bytes (C, H, W)."""
    records = np.concatenate(
        [
            np.frombuffer(content, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
            for content in _members(archive, part, ".bin")
        ]
    )
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]


def _read_python(archive: Path, part: Part) -> Pixels:
    """Pickled dictionaries with ``data`` (N, 3072) and ``labels``; only arrays are unpickled."""
    batches = [
        _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
        for content in _members(archive, part, "")
    ]
    pixels = np.concatenate([np.asarray(batch[b"data"], np.uint8) for batch in batches])
    labels = np.concatenate([np.asarray(batch[b"labels"], np.uint8) for batch in batches])
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


def _members(archive: Path, part: Part, suffix: str) -> list[bytes]:
    """Contents of the batch files of one part, in the order of their names."""
    stems = ["test_batch"] if part == "test" else [f"data_batch_{i}" for i in range(1, 6)]
    wanted = {stem + suffix for stem in stems}
    with tarfile.open(archive) as tar:
        found = {
            Path(member.name).name: file.read()
            for member in tar
            if Path(member.name).name in wanted and (file := tar.extractfile(member))
        }
    if not found:
        raise BadModelError(f"{archive}: no {part} batches of CIFAR-10 inside")
    return [found[name] for name in sorted(found)]


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that builds numpy arrays and plain containers, and runs nothing else."""

    ALLOWED: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise BadModelError(f"CIFAR-10 archive holds {module}.{name}, which is no array")
        return super().find_class(module, name)


def _read_lossless(archive: Path, part: Part) -> Pixels:
    """Strips of images, class after class; ``meta.json`` has the SHA-256 of all pixels (NHWC)."""
    with zipfile.ZipFile(archive) as zipped:
        description = json.loads(zipped.read("meta.json"))["splits"][part]
        strips = [
            np.asarray(Image.open(io.BytesIO(zipped.read(name))).convert("RGB"))
            for name in sorted(zipped.namelist())
            if name.startswith(f"{part}/")
        ]
    pixels = np.concatenate([strip.reshape(-1, 32, 32, 3) for strip in strips])
    if hashlib.sha256(pixels.tobytes()).hexdigest() != description["sha256_uint8_NHWC"]:
        raise BadModelError(f"{archive}: the pixels of the {part} part are not those published")
    per_class = description["per_class"]
    return pixels, np.repeat(np.arange(len(CLASSES), dtype=np.uint8), per_class)


READERS: dict[str, Callable[[Path, Part], Pixels]] = {
    "cifar-10-binary.tar.gz": _read_binary,
    "cifar-10-python.tar.gz": _read_python,
    "cifar10-lossless.zip": _read_lossless,
}
