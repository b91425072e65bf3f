"""CIFAR-10: 60,000 colour images of 32x32 pixels in 10 classes."""

from pathlib import Path

from stage_node.data.cifar import Cifar
from stage_node.data.dataset import Dataset

CIFAR10 = Cifar(
    name="cifar10",
    classes=(
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    ),
    binary="cifar-10-binary.tar.gz",
    python="cifar-10-python.tar.gz",
    lossless="cifar10-lossless.zip",
    md5={
        "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
        "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
    },
    members={
        "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
        "test": ("test_batch",),
    },
    label_bytes=1,
    label_key=b"labels",
)  # fmt: skip


def load_cifar10(folder: Path | None = None) -> Dataset:
    """CIFAR-10 from the archive in ``folder``: train 45,000, validation 5,000, test 10,000."""
    return CIFAR10.load(folder)
