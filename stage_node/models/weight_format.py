"""Formats of a checkpoint's weights: full floats, halves, whole numbers with scales, pruned or not.

What a format makes of one tensor is a few tensors that any safetensors reader can read, named
after it with a suffix:

===========  ==============  =====================================================================
suffix       type            what
===========  ==============  =====================================================================
(none)       F32, F16,       the values; of pruned weights only those that were kept, in order;
             I8, U8          4-bit numbers two to a byte, the first in the upper half, plus 8
``.scale``   F32             of whole numbers: the value of one step, for each output channel
``.kept``    U8              of pruned weights: a bitmap of the places, first place in bit 7
===========  ==============  =====================================================================

Only weights with two dimensions or more (convolutions, linear layers) are changed; biases,
BatchNorm's parameters and statistics stay in float32. Scales are symmetric and per output
channel (Krishnamoorthi, arXiv:1806.08342); pruning takes the smallest magnitudes of a tensor.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from stage_node.errors import BadModelError
from stage_node.wire.packing import pack, packed_bytes, unpack

WeightBits = Literal[32, 16, 8, 4]
SUFFIXES = ("", ".scale", ".kept")
LARGEST = {8: 127, 4: 7}
"""The largest whole number of a format; the smallest is its negative."""


class WeightFormat(BaseModel):
    """Bits of a weight, and the share of the weights that is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bits: WeightBits = 32
    keep: float = Field(default=1.0, gt=0, le=1)

    @property
    def name(self) -> str:
        """``fp32``, ``int8``, ``int8-keep25``."""
        kept = "" if self.keep == 1 else f"-keep{100 * self.keep:g}"
        return f"{'fp' if self.bits >= 16 else 'int'}{self.bits}{kept}"

    def encode(self, weight: Tensor) -> dict[str, Tensor]:
        """A tensor as the tensors that are stored, by suffix."""
        weight = weight.detach().cpu().contiguous()
        if weight.dim() < 2 or self == FULL:
            return {"": weight}
        kept = largest(weight, self.keep)
        stored: dict[str, Tensor] = {}
        values = weight
        if self.bits in LARGEST:
            values, stored[".scale"] = _whole(weight * kept, LARGEST[self.bits])
        if self.keep < 1:
            values = values[kept]
            stored[".kept"] = torch.from_numpy(np.packbits(kept.numpy().reshape(-1)))
        if self.bits == 16:
            values = values.half()
        if self.bits == 4:
            values = torch.from_numpy(pack((values.numpy() + 8).astype(np.uint8), 4))
        return {"": values, **stored}

    def decode(self, stored: Mapping[str, Tensor], shape: tuple[int, ...]) -> Tensor:
        """The tensor in float32; ``BadModelError`` where what is stored does not fit ``shape``."""
        if len(shape) < 2 or self == FULL:
            return stored[""]
        count = int(np.prod(shape))
        try:
            kept = _places(stored[".kept"], count) if self.keep < 1 else None
            values = stored[""].reshape(-1)
            if self.bits == 4:
                number = count if kept is None else int(kept.sum())
                values = torch.from_numpy(unpack(values.numpy(), 4, number)).to(torch.int16) - 8
            weight = torch.zeros(count)
            weight[slice(None) if kept is None else kept] = values.float()
            weight = weight.view(shape)
            if self.bits in LARGEST:
                weight *= stored[".scale"].view(-1, *[1] * (len(shape) - 1))
        except (KeyError, RuntimeError, ValueError) as error:
            raise BadModelError(f"stored weights do not fit {shape}: {error}") from None
        return weight

    def encode_all(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Named tensors as they are stored, each followed by its companions."""
        return {
            name + suffix: stored
            for name, tensor in tensors.items()
            for suffix, stored in self.encode(tensor).items()
        }

    def decode_all(
        self, module: nn.Module, stored: Mapping[str, Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """The tensors of a module's ``state_dict``, from what is stored of each.

        ``BadModelError`` for what is no tensor of the module.
        """
        shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        if strange := sorted(stored.keys() - shapes.keys()):
            raise BadModelError(f"the model has no tensor {strange[0]}")
        return {name: self.decode(parts, shapes[name]) for name, parts in stored.items()}


FULL = WeightFormat()


def largest(weight: Tensor, share: float) -> Tensor:
    """Mask the ``share`` of largest magnitudes of a tensor: booleans of its shape."""
    count = max(1, round(share * weight.numel()))
    kept = torch.zeros(weight.numel(), dtype=torch.bool)
    kept[weight.abs().flatten().topk(count).indices] = True
    return kept.view(weight.shape)


def _whole(weight: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Whole numbers and the scale of each output channel."""
    extent = weight.abs().flatten(1).amax(1)
    scale = torch.where(extent > 0, extent / most, torch.ones_like(extent))
    numbers = (weight / scale.view(-1, *[1] * (weight.dim() - 1))).round().clamp(-most, most)
    return numbers.to(torch.int8), scale


def _places(bitmap: Tensor, count: int) -> Tensor:
    if bitmap.numel() != packed_bytes(count, 1):
        raise ValueError(f"a bitmap of {bitmap.numel()} bytes for {count} weights")
    return torch.from_numpy(np.unpackbits(bitmap.numpy(), count=count).astype(bool))
