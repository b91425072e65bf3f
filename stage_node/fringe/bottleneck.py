"""A bottleneck at a cut: a small encoder before the link and a decoder after it, trained together.

Where a linear prefix (:mod:`stage_node.fringe.cut`) keeps the directions of largest variance, a
bottleneck keeps what the frozen layers behind it need. The encoder halves the resolution where that
pays, and its codes are whole numbers of a few bits, so that an image costs a fixed number of bytes:
the architecture follows from the byte budget that a fixed bandwidth or latency leaves (US
2025/0265465 A1, claim 7). In the manner of BottleNet++ (Shao and Zhang, ICC Workshops 2020).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from stage_node.errors import BadModelError
from stage_node.models import load_weights
from stage_node.models.parts import BatchNorm, conv3x3
from stage_node.models.resnet import ResidualBlock

Bits = Literal[8, 6, 4, 2]
HIDDEN = 64
# With fewer bits for each position of the activation its resolution is halved.
FINEST_BITS = 16
CODE_BITS: Bits = 2
FINER_BITS: tuple[Bits, ...] = (8, 6, 4)


class BottleneckSpec(BaseModel):
    """All that is needed to build a bottleneck, but for its weights.

    ``in_shape`` is the activation's (C, H, W). Codes have ``channels`` channels of ``bits`` bits
    at 1 / ``stride`` of the resolution. ``hidden`` is the width of the inner layers; 0 leaves
    them out: encoder and decoder are one 1x1 convolution each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    in_shape: tuple[int, int, int]
    stride: Literal[1, 2] = 1
    channels: int = Field(gt=0)
    bits: Bits
    hidden: int = Field(default=HIDDEN, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if min(self.in_shape) < 1:
            raise ValueError(f"no activation has the shape {self.in_shape}")
        if any(size % self.stride for size in self.in_shape[1:]):
            raise ValueError(f"stride {self.stride} does not divide an activation {self.in_shape}")
        if self.hidden == 0 and self.stride != 1:
            raise ValueError("a bottleneck without hidden layers keeps the resolution: stride 1")
        return self

    @property
    def code_shape(self) -> tuple[int, int, int]:
        """Shape (channels, H / stride, W / stride) of one image's codes."""
        _, height, width = self.in_shape
        return self.channels, height // self.stride, width // self.stride

    @property
    def size_bytes(self) -> int:
        """Bytes of one image's codes, packed, before any lossless coding."""
        return math.ceil(math.prod(self.code_shape) * self.bits / 8)

    def quantised(self, codes: Tensor) -> Tensor:
        """The nearest of 2^bits evenly spaced values from 0 to 1."""
        steps = 2**self.bits - 1
        return (codes * steps).round() / steps


def choose_bottleneck(budget_bytes: float, shape: tuple[int, int, int]) -> BottleneckSpec:
    """The architecture that makes the most of ``budget_bytes`` per image (claim 7).

    ``shape`` is the activation's (C, H, W). Resolution is halved when the budget leaves fewer
    than 16 bits for each of its positions: many coarse channels over a neighbourhood then say
    more than few at every position. There are never more channels than features in the inner
    layers: a budget beyond that goes into bits. ``BadModelError`` where not even one code per
    position fits.
    """
    _, height, width = shape
    per_position = 8 * math.floor(budget_bytes) / (height * width)
    halvable = height % 2 == 0 and width % 2 == 0
    stride: Literal[1, 2] = 2 if halvable and per_position < FINEST_BITS else 1
    code_bits = per_position * stride**2 + 1e-9
    if code_bits < CODE_BITS:
        least = height * width * CODE_BITS / 8 / (4 if halvable else 1)
        raise BadModelError(
            f"{budget_bytes:g} bytes per image are too few for an activation {shape}: "
            f"the smallest bottleneck takes {math.ceil(least)}"
        )
    bits: Bits = next((more for more in FINER_BITS if HIDDEN * more <= code_bits), CODE_BITS)
    channels = min(HIDDEN, math.floor(code_bits / bits))
    return BottleneckSpec(in_shape=shape, stride=stride, channels=channels, bits=bits)


class Encoder(nn.Module):
    """Activations to codes: the range that the quantiser divides into levels is 0 .. 1."""

    def __init__(self, spec: BottleneckSpec) -> None:
        super().__init__()
        self.spec = spec
        channels = spec.in_shape[0]
        self.block = (
            ResidualBlock(channels, spec.hidden, spec.stride) if spec.hidden else nn.Identity()
        )
        self.project = nn.Conv2d(spec.hidden or channels, spec.channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, channels, H / stride, W / stride) within 0 .. 1."""
        z: Tensor = self.project(self.block(x))
        if self.spec.hidden:
            return torch.sigmoid(z)
        # A sigmoid bends; what is linear by choice is cut off at the ends of its range instead. Its
        # gradient is not: a code that once left the range would never come back.
        inside = z.clamp(0, 1)
        return z + (inside - z).detach() if self.training else inside


class Decoder(nn.Module):
    """Codes, quantised or not, back to activations."""

    def __init__(self, spec: BottleneckSpec) -> None:
        super().__init__()
        self.spec = spec
        channels = spec.in_shape[0]
        wide = 2 * spec.hidden
        self.inner = (
            nn.Sequential(conv3x3(spec.channels, wide), BatchNorm(wide), nn.ReLU())
            if spec.hidden
            else nn.Identity()
        )
        self.restore = nn.Conv2d(wide or spec.channels, channels * spec.stride**2, 1)

    def forward(self, codes: Tensor) -> Tensor:
        """(N, channels, H / stride, W / stride) within 0 .. 1 to (N, C, H, W)."""
        x: Tensor = self.restore(self.inner(2 * codes - 1))
        return F.pixel_shuffle(x, self.spec.stride)


class Bottleneck(nn.Module):
    """Encoder and decoder of one cut."""

    def __init__(self, spec: BottleneckSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = Encoder(spec)
        self.decoder = Decoder(spec)

    def forward(self, x: Tensor) -> Tensor:
        """Encode and decode ``x`` (N, C, H, W), quantised; the gradient passes straight through.

        The straight-through estimator of Bengio, Leonard and Courville (2013).
        """
        codes = self.encoder(x)
        restored: Tensor = self.decoder(codes + (self.spec.quantised(codes) - codes).detach())
        return restored


@dataclass(frozen=True, eq=False)
class TrainedBottleneck:
    """A bottleneck and the fringe layers that were tuned with it.

    ``layers`` holds those layers' tensors as ``layers.<layer>.<parameter>``: on either side of
    the cut they replace the model's own while this bottleneck is in use.
    """

    spec: BottleneckSpec
    encoder: Encoder
    decoder: Decoder
    layers: Mapping[str, Tensor]


def save_bottleneck(
    path: Path,
    bottleneck: Bottleneck,
    layers: Mapping[str, Tensor],
    extra_metadata: Mapping[str, str] | None = None,
) -> None:
    """Write encoder, decoder and tuned fringe layers as one safetensors file."""
    metadata = {**(extra_metadata or {}), "bottleneck": bottleneck.spec.model_dump_json()}
    tensors = {**bottleneck.state_dict(), **layers}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)


def load_bottleneck(path: Path) -> TrainedBottleneck:
    """Read what :func:`save_bottleneck` wrote; ``BadModelError`` says what is wrong."""
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
        tensors = load_file(path)
    except FileNotFoundError:
        raise BadModelError(f"{path}: no such bottleneck") from None
    except (SafetensorError, OSError) as error:
        raise BadModelError(f"{path}: not a safetensors file: {error}") from None
    try:
        spec = BottleneckSpec.model_validate_json(metadata["bottleneck"])
    except KeyError:
        raise BadModelError(f"{path}: the metadata has no bottleneck") from None
    except ValidationError as error:
        raise BadModelError(f"{path}: the bottleneck's specification is wrong: {error}") from None
    return bottleneck_from_tensors(spec, tensors)


def bottleneck_from_tensors(
    spec: BottleneckSpec, tensors: Mapping[str, Tensor]
) -> TrainedBottleneck:
    """A bottleneck from its named tensors; ``BadModelError`` unless they fit ``spec``."""
    bottleneck = Bottleneck(spec)
    layers = {name: tensor for name, tensor in tensors.items() if name.startswith("layers.")}
    own = {name: tensor for name, tensor in tensors.items() if name not in layers}
    load_weights(bottleneck, own)
    bottleneck.eval()
    return TrainedBottleneck(spec, bottleneck.encoder, bottleneck.decoder, layers)
