"""Checkpoints: one ``.safetensors`` file whose metadata holds the model's specification.

Nothing is ever unpickled.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from stage_node.errors import BadModelError
from stage_node.models.chain import ChainModel, build_model
from stage_node.models.family import ModelSpec
from stage_node.models.weight_format import SUFFIXES, WeightFormat


def save_checkpoint(
    path: Path, model: ChainModel, extra_metadata: Mapping[str, str] | None = None
) -> None:
    """Write a model's weights, its specification and what else is worth knowing about it."""
    metadata = {**(extra_metadata or {}), "spec": model.spec.model_dump_json()}
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, path, metadata)


def load_checkpoint(path: Path) -> ChainModel:
    """The model of a checkpoint, in evaluation mode; ``BadModelError`` says what is wrong."""
    with _opened(path) as file:
        model = build_model(spec_of(file.metadata(), str(path)))
        weights = format_of(file.metadata(), str(path))
        names = set(file.keys())
        stored = {
            key: {s: file.get_tensor(key + s) for s in SUFFIXES if key + s in names}
            for key in (_base(name) for name in names if name.startswith("layers."))
        }
        load_weights(model, weights.decode_all(model, stored))
    return model.eval()


def load_layers(path: Path, names: Collection[str]) -> dict[str, Tensor]:
    """The tensors of some layers, under their full names ``layers.<layer>.<parameter>``."""
    with _opened(path) as file:
        keys = [key for key in file.keys() if layer_of(key) in names]  # noqa: SIM118
        return {key: file.get_tensor(key) for key in keys}


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], assign: bool = False) -> None:
    """Give a model or segment its tensors; names and shapes must fit exactly.

    They are copied, unless ``assign`` makes the module take the very tensors.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if expected != given:
        name = min({name for name, _ in expected.items() ^ given.items()})
        raise BadModelError(
            f"weights do not fit the model: tensor {name} is {given.get(name, 'missing')}, "
            f"expected {expected.get(name, 'none of that name')}"
        )
    module.load_state_dict(dict(tensors), assign=assign)


def spec_of(metadata: Mapping[str, str] | None, source: str) -> ModelSpec:
    """The specification in a checkpoint's metadata; ``BadModelError`` where there is none."""
    try:
        return ModelSpec.model_validate_json((metadata or {})["spec"])
    except KeyError:
        raise BadModelError(f"{source}: the checkpoint's metadata has no model spec") from None
    except ValidationError as error:
        raise BadModelError(f"{source}: the checkpoint's model spec is wrong: {error}") from None


def format_of(metadata: Mapping[str, str] | None, source: str) -> WeightFormat:
    """Read the weight format of a checkpoint; ``BadModelError`` if it is unknown."""
    try:
        return WeightFormat.model_validate_json((metadata or {}).get("weights", "{}"))
    except ValidationError as error:
        raise BadModelError(f"{source}: the checkpoint's weight format is wrong: {error}") from None


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a checkpoint."""
    with _opened(path) as file:
        return dict(file.metadata() or {})


def layer_of(key: str) -> str | None:
    """The layer that a tensor belongs to, or None for one that is beside the layers."""
    kind, name, *_ = key.split(".")
    return name if kind == "layers" else None


def _base(name: str) -> str:
    """The tensor that a stored one belongs to: its name without the suffix."""
    suffix = next((suffix for suffix in SUFFIXES[1:] if name.endswith(suffix)), "")
    return name.removesuffix(suffix)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """``safe_open`` with errors that a person understands."""
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise BadModelError(f"{path}: no such checkpoint") from None
    except (SafetensorError, OSError) as error:
        raise BadModelError(f"{path}: not a safetensors file: {error}") from None
