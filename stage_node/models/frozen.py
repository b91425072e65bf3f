"""The fingerprint of the frozen layers: what compression must leave untouched.

US 2025/0265465 A1, claim 4: changes to the parameters of all layers that are not fringe layers
are prevented. The controller and every stage compute the same digest from the same function, so
equal digests before and after a run prove it.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping

import torch


def layer_of(tensor_name: str) -> str:
    """The layer that owns a tensor of a chain model: ``layers.<layer>.<parameter>``."""
    return tensor_name.split(".", 2)[1]


def frozen_sha256(tensors: Mapping[str, torch.Tensor], fringe: Collection[str] = ()) -> str:
    """SHA-256 (hex) over the tensors of every layer that is not in ``fringe``.

    Canonical form: tensors sorted by name, each as the line ``name dtype shape`` followed by
    its raw bytes in row-major order. Parameters and buffers both count: the running statistics
    of a BatchNorm are as frozen as its weights.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        if layer_of(name) not in fringe:
            tensor = tensors[name].detach().cpu().contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def combined_sha256(digests: Iterable[str]) -> str:
    """One SHA-256 (hex) for a whole pipeline: over the digests of its stages, in their order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
