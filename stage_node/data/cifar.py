"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) from an archive that lies on this machine.

Three forms of each are understood: the published binary and Python archives
(https://www.cs.toronto.edu/~kriz/cifar.html), known by their MD5, and the same pixels in lossless
image strips, one class after the other, known by the SHA-256 of the pixels.
"""

import hashlib
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

VALIDATION_SHARE = 10  # one in N images of the published train part
# As in torchvision's recipes, so that third-party checkpoints fit.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Part = Literal["train", "test"]
Pixels = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Images (N, 32, 32, 3) and labels (N,)."""


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets: its archives, and where in them images and labels are.

    ``members`` are the files of each part. A record of the binary form ends its ``label_bytes``
    with the label; a pickled dictionary has it under ``label_key``.
    """

    name: str
    classes: tuple[str, ...]
    binary: str
    python: str
    lossless: str
    md5: Mapping[str, str]
    members: Mapping[Part, tuple[str, ...]]
    label_bytes: int
    label_key: bytes

    def load(self, folder: Path | None) -> Dataset:
        """Train 45,000, validation 5,000 (out of the published train part), test 10,000."""
        archive = find_archive((self.binary, self.python, self.lossless), folder)

        def load_split(name: SplitName) -> Split:
            pixels, labels = self.read(archive, "test" if name == "test" else "train")
            validation, train = divide(
                pixels, labels, (0 if name == "test" else len(labels) // VALIDATION_SHARE,)
            )
            chosen = validation if name == "validation" else train
            return normalised(pixels[chosen], labels[chosen], 255, MEAN, DEVIATION)

        return Dataset(self.name, self.classes, (3, 32, 32), load_split, max_shift=4, mirrors=True)

    def read(self, archive: Path, part: Part) -> Pixels:
        """One published part; ``BadModelError`` for an archive that is cut off or altered."""
        if archive.name == self.lossless:
            return self._read_lossless(archive, part)
        with archive.open("rb") as content:
            digest = hashlib.file_digest(content, "md5").hexdigest()
        if digest != self.md5[archive.name]:
            raise BadModelError(
                f"{archive}: cut off or altered: its MD5 is {digest}, that of the published "
                f"archive {self.md5[archive.name]}"
            )
        read = self._read_binary if archive.name == self.binary else self._read_python
        return read(archive, part)

    def _read_binary(self, archive: Path, part: Part) -> Pixels:
        """Records of label bytes and 3072 pixel bytes (C, H, W)."""
        records = np.concatenate(
            [
                np.frombuffer(content, np.uint8).reshape(-1, self.label_bytes + 3 * 32 * 32)
                for content in _members(archive, [f"{name}.bin" for name in self.members[part]])
            ]
        )
        pixels = records[:, self.label_bytes :].reshape(-1, 3, 32, 32)
        return pixels.transpose(0, 2, 3, 1), records[:, self.label_bytes - 1]

    def _read_python(self, archive: Path, part: Part) -> Pixels:
        """Pickled dictionaries with ``data`` (N, 3072) and labels; only arrays are unpickled."""
        batches = [
            _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
            for content in _members(archive, self.members[part])
        ]
        pixels = np.concatenate([np.asarray(batch[b"data"], np.uint8) for batch in batches])
        labels = [np.asarray(batch[self.label_key], np.uint8) for batch in batches]
        return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), np.concatenate(labels)

    def _read_lossless(self, archive: Path, part: Part) -> Pixels:
        """Strips of images, class after class; ``meta.json`` has the SHA-256 of all pixels."""
        try:
            with zipfile.ZipFile(archive) as zipped:
                description = json.loads(zipped.read("meta.json"))["splits"][part]
                strips = [
                    np.asarray(Image.open(io.BytesIO(zipped.read(name))).convert("RGB"))
                    for name in sorted(zipped.namelist())
                    if name.startswith(f"{part}/")
                ]
        except (zipfile.BadZipFile, KeyError) as error:
            reason = " ".join(str(error).split())
            raise BadModelError(f"{archive}: cut off or altered: {reason}") from None
        pixels = np.concatenate([strip.reshape(-1, 32, 32, 3) for strip in strips])
        if hashlib.sha256(pixels.tobytes()).hexdigest() != description["sha256_uint8_NHWC"]:
            raise BadModelError(f"{archive}: the pixels of the {part} part are not those published")
        labels = np.arange(len(self.classes), dtype=np.uint8)
        return pixels, np.repeat(labels, description["per_class"])


def _members(archive: Path, names: Sequence[str]) -> list[bytes]:
    """Contents of the named files, in that order, whatever folder they are in."""
    with tarfile.open(archive) as tar:
        found = {
            Path(member.name).name: file.read()
            for member in tar
            if Path(member.name).name in names and (file := tar.extractfile(member))
        }
    if missing := [name for name in names if name not in found]:
        raise BadModelError(f"{archive}: no {missing[0]} inside")
    return [found[name] for name in names]


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
            raise BadModelError(f"a CIFAR archive holds {module}.{name}, which is no array")
        return super().find_class(module, name)
