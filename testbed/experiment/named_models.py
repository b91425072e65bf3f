"""The file that an experiment means when it names a model."""

from pathlib import Path

from stage_node.models import akamaster
from stage_node.models.files import find_weights, weights_folder
from testbed.errors import BadExperimentError
from testbed.experiment.file import CHECKPOINTS
from testbed.experiment.files import find_file


def checkpoint_path(model: str) -> Path:
    """The file of a model: a shipped checkpoint or a third party's file by its name, or a path."""
    shipped = CHECKPOINTS / f"{model}.safetensors"
    if shipped.exists():
        return shipped
    path = find_file(model)
    return path if path.is_file() else find_weights(model) or path


def existing_checkpoint(model: str) -> Path:
    """Path of an existing checkpoint; ``BadExperimentError`` says where to get a missing one."""
    path = checkpoint_path(model)
    if not path.is_file():
        raise BadExperimentError(_no_model(model))
    return path


def shipped_checkpoints() -> list[str]:
    """Names of the checkpoints that come with Concertina."""
    return sorted(path.stem for path in CHECKPOINTS.glob("*.safetensors"))


def _no_model(name: str) -> str:
    if name.endswith(akamaster.SUFFIX):
        return (
            f"no file {name!r}; {akamaster.where_to_get(name)}: put it into {weights_folder()}, "
            "or give its path"
        )
    shipped = ", ".join(shipped_checkpoints())
    return f"no checkpoint {name!r}; shipped are: {shipped}; or give a path"
