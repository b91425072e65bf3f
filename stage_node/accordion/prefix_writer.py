"""Writes prefix-runnable checkpoints: safetensors with its tensors in the order of delivery.

The library's own writer sorts tensors by type and name; the format leaves the order free.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from torch import Tensor

from stage_node.accordion.prefix import (
    DTYPES,
    LENGTH_BYTES,
    NO_DIGEST,
    Contents,
    Part,
    PrefixHeader,
    RunnableConfiguration,
    header_digest,
)
from stage_node.models import ChainModel
from stage_node.models.norm_statistics import pack_statistics, packed_name
from stage_node.models.weight_format import FULL, WeightFormat
from stage_node.records.configuration import Configuration

Statistics = Mapping[Configuration, Mapping[str, Tensor]]
"""BatchNorm's running means and variances of each configuration, by ``state_dict`` name."""

ALIGNMENT = 8


@dataclass(frozen=True)
class PartTensors:
    """A part before it is written: its tensors in order, and the configurations it completes."""

    name: str
    tensors: Mapping[str, Tensor]
    completes: tuple[Configuration, ...] = ()


def write_prefix_checkpoint(
    path: Path,
    model: ChainModel,
    ladder: Sequence[Configuration],
    metadata: Mapping[str, str] | None = None,
    statistics: Statistics | None = None,
    weights: WeightFormat = FULL,
) -> None:
    """Write ``model`` so that each configuration of ``ladder`` (growing, full last) is a prefix.

    With ``statistics`` every configuration brings its own BatchNorm statistics along; without,
    all use the model's. ``weights`` says how weights are stored.
    """
    parts = [
        replace(part, tensors=weights.encode_all(part.tensors))
        for part in arrange(model, ladder, statistics or {})
    ]
    own = {"spec": model.spec.model_dump_json()}
    if weights != FULL:
        own["weights"] = weights.model_dump_json()
    path.write_bytes(encode(parts, own | dict(metadata or {})))


def prefix_bytes(
    model: ChainModel, ladder: Sequence[Configuration], statistics: Statistics | None = None
) -> dict[Configuration, int]:
    """The bytes that each configuration of such a file takes, about: metadata has its own."""
    content = encode(
        arrange(model, ladder, statistics or {}), {"spec": model.spec.model_dump_json()}
    )
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    return PrefixHeader(content[LENGTH_BYTES : LENGTH_BYTES + length]).configurations


def arrange(
    model: ChainModel, ladder: Sequence[Configuration], statistics: Statistics
) -> list[PartTensors]:
    """The parts of a checkpoint in the order of delivery.

    The layers of every configuration come first: input, output and those that cannot be left
    out. The full configuration's own statistics carry the plain names, so that the whole file
    is an ordinary checkpoint.
    """
    tensors = model.state_dict()
    deferred = set(statistics[ladder[-1]]) if statistics else set()
    blocks = _order_of_blocks(model, ladder)
    added = {name for rung in blocks for name in rung}
    base = {
        name: tensor
        for layer in model.layer_names
        if layer not in added
        for name, tensor in _of_layer(tensors, layer).items()
        if name not in deferred
    }
    parts = [PartTensors("input and output", base)]
    for configuration, names in zip(ladder, blocks, strict=True):
        for layer in names:
            weights = _of_layer(tensors, layer).items()
            parts.append(PartTensors(layer, {n: t for n, t in weights if n not in deferred}))
        if statistics:
            name = packed_name(configuration)
            own = statistics[configuration]
            if configuration != ladder[-1]:
                own = {name: pack_statistics(own, statistics[ladder[-1]])}
            parts.append(PartTensors(name, own))
        last = parts.pop()
        parts.append(PartTensors(last.name, last.tensors, (*last.completes, configuration)))
    return parts


def encode(parts: Sequence[PartTensors], metadata: Mapping[str, str]) -> bytes:
    """The bytes of the file."""
    places: dict[str, object] = {}
    body = bytearray()
    kept: list[Part] = []
    rungs: list[RunnableConfiguration] = []
    for part in parts:
        begin = len(body)
        for name, tensor in part.tensors.items():
            first = len(body)
            body += tensor.detach().cpu().contiguous().numpy().tobytes()
            places[name] = {
                "dtype": DTYPE_NAMES[tensor.dtype],
                "shape": list(tensor.shape),
                "data_offsets": [first, len(body)],
            }
        digest = hashlib.sha256(body[begin:]).hexdigest()
        kept.append(Part(name=part.name, end=len(body), sha256=digest))
        rungs += [RunnableConfiguration(configuration=c, end=len(body)) for c in part.completes]
    contents = Contents(parts=tuple(kept), configurations=tuple(rungs))
    described = {**metadata, "prefix": contents.model_dump_json(), "header_sha256": NO_DIGEST}
    return _header({"__metadata__": described, **places}) + bytes(body)


DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def _header(document: Mapping[str, object]) -> bytes:
    """Length and JSON, padded with spaces so that the tensors are aligned, and sealed."""
    raw = json.dumps(document, separators=(",", ":")).encode()
    raw += b" " * (-(LENGTH_BYTES + len(raw)) % ALIGNMENT)
    digest = header_digest(raw, NO_DIGEST).encode()
    sealed = raw.replace(NO_DIGEST.encode(), digest)
    return len(sealed).to_bytes(LENGTH_BYTES, "little") + sealed


def _order_of_blocks(model: ChainModel, ladder: Sequence[Configuration]) -> list[tuple[str, ...]]:
    """For each configuration the blocks that it adds to the one before.

    The first is compared with the smallest that the model has.
    """
    subsets = [model.subset(c) for c in (model.smallest_configuration, *ladder)]
    return [
        tuple(name for name in larger if name not in smaller)
        for smaller, larger in pairwise(subsets)
    ]


def _of_layer(tensors: Mapping[str, Tensor], layer: str) -> dict[str, Tensor]:
    """The tensors of one layer."""
    prefix = f"layers.{layer}."
    return {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
