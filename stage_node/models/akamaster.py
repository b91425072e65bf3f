"""CIFAR-10 ResNets trained by a third party: github.com/akamaster/pytorch_resnet_cifar10.

Their architecture is ours with ``option-a``; only the names of the tensors differ.
"""

import re
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from stage_node.errors import BadModelError
from stage_node.models.chain import ChainModel, build_model
from stage_node.models.checkpoint import load_weights
from stage_node.models.family import ModelSpec

BLOCK = re.compile(r"layer(?P<inner>[123])\.(?P<index>\d+)\.(?P<rest>(conv|bn)[12]\..+)")
OUTER = {"conv1.": "layers.stem.conv.", "bn1.": "layers.stem.bn.", "linear.": "layers.head.linear."}
TENSORS_PER_BLOCK = 10


def load_akamaster(path: Path) -> ChainModel:
    """The model of one of their ``.th`` files, in evaluation mode; nothing in it is executed."""
    try:
        published = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except UnpicklingError:
        raise BadModelError(f"{path}: holds more than tensors; it was not loaded") from None
    except (OSError, RuntimeError, KeyError, ValueError, EOFError) as error:
        raise BadModelError(f"{path}: no checkpoint of that project: {error}") from None
    tensors: dict[str, Tensor] = {
        _our_name(name.removeprefix("module.")): tensor
        for name, tensor in published.items()
        if not name.endswith("num_batches_tracked")
    }
    blocks = sum(name.startswith("layers.block") for name in tensors) // TENSORS_PER_BLOCK
    spec = ModelSpec(depth=2 * blocks + 2, classes=10, in_channels=3, image_size=32)
    model = build_model(spec)
    load_weights(model, tensors)
    return model.eval()


def _our_name(name: str) -> str:
    if match := BLOCK.fullmatch(name):
        return f"layers.block{match['inner']}_{match['index']}.{match['rest']}"
    for theirs, ours in OUTER.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    raise BadModelError(f"tensor {name} belongs to no ResNet of that project")
