"""Files that hold a model, ours or a third party's: how each is found and read."""

from pathlib import Path

from stage_node.data import data_folder
from stage_node.models import akamaster
from stage_node.models.chain import ChainModel
from stage_node.models.checkpoint import load_checkpoint

THIRD_PARTY = "akamaster_"
"""Prefix under which a folder of several authors' weights may keep a published file."""


def load_model(path: Path) -> ChainModel:
    """The model in a file, in evaluation mode: a checkpoint, or a ``.th`` file of akamaster's.

    ``BadModelError`` says what is wrong with it.
    """
    return akamaster.read(path) if path.suffix == akamaster.SUFFIX else load_checkpoint(path)


def weights_folder() -> Path:
    """Folder of third-party weights: ``weights``, beside the archives of the data sets."""
    return data_folder() / "weights"


def find_weights(name: str) -> Path | None:
    """A third party's file of that name in ``weights_folder``, if it is there."""
    candidates = (weights_folder() / prefixed for prefixed in (name, THIRD_PARTY + name))
    return next((path for path in candidates if path.is_file()), None)
