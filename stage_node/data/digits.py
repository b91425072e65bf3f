"""Handwritten digits, 8x8 grey, the data set that needs no download.

1797 images of the test part of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and
Kaynak, 1998), as scikit-learn ships them.
"""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from stage_node.data.dataset import Dataset, Split, SplitName, divide, normalised
from stage_node.errors import BadModelError

TEST = VALIDATION = 300
FULL_SCALE = 16
# Of the train split, pixels scaled to 0..1.
MEAN, DEVIATION = (0.3053,), (0.3762,)


def load_digits(folder: Path | None = None) -> Dataset:
    """Digits: train 1197, validation 300, test 300, stratified; always the same images."""
    return Dataset(
        name="digits",
        classes=tuple("0123456789"),
        image_shape=(1, 8, 8),
        load_split=_load_split,
        max_shift=1,
    )


def _load_split(name: SplitName) -> Split:
    # scikit-learn's own reader would import all of it: seconds in the microVM.
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise BadModelError("the digits data set is part of scikit-learn, which is not installed")
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(path, "rt") as lines:
        table = np.array([line.split(",") for line in lines], dtype=np.float32).astype(np.uint8)
    pixels, labels = table[:, :-1].reshape(-1, 8, 8, 1), table[:, -1]
    parts = dict(zip(("test", "validation", "train"), divide(pixels, labels, (TEST, VALIDATION)),
                     strict=True))  # fmt: skip
    chosen = parts[name]
    return normalised(pixels[chosen], labels[chosen], FULL_SCALE, MEAN, DEVIATION)
