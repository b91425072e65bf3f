"""CIFAR-10 ResNets of github.com/akamaster/pytorch_resnet_cifar10 (Idelbayev), as our checkpoints.

Those files are pickles of tensors: read with ``weights_only``, so that nothing else is unpickled.
Their names end in the first hexadecimal digits of their SHA-256, as PyTorch's hub has it. Their
layers are He et al.'s with shortcut A, like ours, under other names.
"""

import hashlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from stage_node.errors import BadModelError
from stage_node.models.chain import ChainModel, build_model
from stage_node.models.checkpoint import load_weights
from stage_node.models.family import ModelSpec

SUFFIX = ".th"
_HASH = re.compile(r"-([0-9a-f]{8,})\.th$")
_RENAMED = (
    (re.compile(r"^module\."), ""),
    (re.compile(r"^conv1\."), "stem.conv."),
    (re.compile(r"^bn1\."), "stem.bn."),
    (re.compile(r"^layer(\d)\.(\d+)\."), r"block\1_\2."),
    (re.compile(r"^linear\."), "head.linear."),
)


def convert(tensors: Mapping[str, Tensor]) -> ChainModel:
    """A model in evaluation mode from tensors under the third party's names.

    ``BadModelError`` if they are not such a ResNet's.
    """
    renamed = {
        f"layers.{_renamed(name)}": tensor.float()
        for name, tensor in tensors.items()
        if not name.endswith("num_batches_tracked")
    }
    blocks = sum(bool(re.match(r"layers\.block1_\d+\.conv1\.weight", name)) for name in renamed)
    if blocks == 0 or "layers.head.linear.bias" not in renamed:
        raise BadModelError("these are not the weights of a CIFAR ResNet by akamaster")
    spec = ModelSpec(
        depth=6 * blocks + 2,
        width=renamed["layers.stem.conv.weight"].shape[0],
        classes=renamed["layers.head.linear.bias"].shape[0],
        in_channels=3,
        image_size=32,
    )
    model = build_model(spec)
    load_weights(model, renamed)
    return model.eval()


def where_to_get(name: str) -> str:
    """Say how to get a published file, for the message that it is missing."""
    published = _HASH.search(name)
    check = f", SHA-256 {published[1]}..." if published else ""
    return (
        "github.com/akamaster/pytorch_resnet_cifar10 publishes such files "
        f"(pretrained_models/{Path(name).name}{check})"
    )


def read(path: Path) -> ChainModel:
    """The model in a published file; ``BadModelError`` says what is wrong with it."""
    try:
        _check_hash(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise BadModelError(f"{path}: no such file") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise BadModelError(f"{path}: not a file of tensors: {error}") from None
    tensors = content.get("state_dict", content) if isinstance(content, dict) else None
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise BadModelError(f"{path}: no named tensors inside")
    return convert(tensors)


def _check_hash(path: Path) -> None:
    named = _HASH.search(path.name)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if named and not digest.startswith(named[1]):
        raise BadModelError(
            f"{path}: not the file that was published: its SHA-256 begins with {digest[:8]}"
        )


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name
