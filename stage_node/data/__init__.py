"""Data sets for experiments; a new one is one new file in this package and a line in SOURCES."""

from collections.abc import Callable
from pathlib import Path

from stage_node.data.cifar10 import load_cifar10
from stage_node.data.cifar100 import load_cifar100
from stage_node.data.dataset import Dataset, Split, SplitName, data_folder
from stage_node.data.digits import load_digits
from stage_node.errors import BadModelError

SOURCES: dict[str, Callable[[Path | None], Dataset]] = {
    "digits": load_digits,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
}


def load_dataset(name: str, folder: Path | None = None) -> Dataset:
    """The data set of that name; its splits are read when they are first used.

    ``folder`` is where archives lie; without it ``$CONCERTINA_DATA``, then the sibling folder
    ``shared/data`` of the repository. ``BadModelError`` where the name or the archive is unknown.
    """
    if name not in SOURCES:
        raise BadModelError(f"unknown data set {name!r}; known: {', '.join(sorted(SOURCES))}")
    return SOURCES[name](folder)


__all__ = ["SOURCES", "Dataset", "Split", "SplitName", "data_folder", "load_dataset"]
