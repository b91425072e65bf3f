"""CIFAR-100: 60,000 colour images of 32x32 pixels in 100 (fine) classes."""

from pathlib import Path

from stage_node.data.cifar import Cifar
from stage_node.data.dataset import Dataset

CIFAR100 = Cifar(
    name="cifar100",
    classes=(
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle",
        "bicycle", "bottle", "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can",
        "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud",
        "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant",
        "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
        "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree",
        "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
        "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate",
        "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
        "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake",
        "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
        "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle",
        "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
    ),
    binary="cifar-100-binary.tar.gz",
    python="cifar-100-python.tar.gz",
    lossless="cifar100-lossless.zip",
    md5={
        "cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8",
        "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
    },
    members={"train": ("train",), "test": ("test",)},
    label_bytes=2,  # the coarse label, then the fine one
    label_key=b"fine_labels",
)  # fmt: skip


def load_cifar100(folder: Path | None = None) -> Dataset:
    """CIFAR-100 from the archive in ``folder``: train 45,000, validation 5,000, test 10,000."""
    return CIFAR100.load(folder)
