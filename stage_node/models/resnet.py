"""CIFAR-type residual networks of depth 6n + 2 (He et al., CVPR 2016, section 4.2).

Three inner blocks of n residual blocks with widths w, 2w, 4w; each residual block is one layer
of the chain. Two ways to halve the resolution, neither with trainable parameters of its own:

``option-a``  the first residual block of inner blocks 2 and 3 has stride 2 and He et al.'s
              shortcut A: every other pixel, new channels zero. It cannot be left out.
``pool``      average pooling and channel zero padding *before* each of those inner blocks, so
              that all their residual blocks are alike and any of them can be left out (Accordion).
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from stage_node.errors import BadModelError
from stage_node.models.family import Family, ModelSpec
from stage_node.models.parts import BatchNorm, ConvLayer, Head, Pool, conv3x3, pad_channels

INNER_BLOCKS = 3


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a parameter-free shortcut (a BRLS in the Accordion paper)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels_in, channels_out, stride)
        self.bn1 = BatchNorm(channels_out)
        self.conv2 = conv3x3(channels_out, channels_out)
        self.bn2 = BatchNorm(channels_out)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', ceil(H / stride), ceil(W / stride))."""
        hidden = F.relu(self.bn1(self.conv1(x)), inplace=True)
        residual = self.bn2(self.conv2(hidden))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        return F.relu(residual + pad_channels(shortcut, residual.shape[1]), inplace=True)


class ResNet(Family):
    """CIFAR-type ResNet: ``stem``, ``block1_0`` ..., (``pool2``), ``block2_0`` ..., ``head``."""

    name = "resnet"

    @staticmethod
    def layers(spec: ModelSpec) -> dict[str, Callable[[], nn.Module]]:
        """The named layers in order."""
        if spec.downsample not in ("option-a", "pool"):
            raise BadModelError(f"a ResNet's downsample is option-a or pool, not {spec.downsample}")
        channels = spec.width
        layers: dict[str, Callable[[], nn.Module]] = {
            "stem": partial(ConvLayer, spec.in_channels, channels)
        }
        for position, names in enumerate(ResNet.inner_blocks(spec)):
            channels_out = spec.width * 2**position
            if position > 0 and spec.downsample == "pool":
                layers[f"pool{position + 1}"] = partial(Pool, channels_out)
                channels = channels_out
            for name in names:
                stride = 1 if channels == channels_out else 2
                layers[name] = partial(ResidualBlock, channels, channels_out, stride)
                channels = channels_out
        layers["head"] = partial(Head, channels, spec.classes)
        return layers

    @staticmethod
    def inner_blocks(spec: ModelSpec) -> tuple[tuple[str, ...], ...]:
        """Names of the residual blocks, inner block by inner block."""
        per_inner_block, rest = divmod(spec.depth - 2, 2 * INNER_BLOCKS)
        if per_inner_block < 1 or rest:
            raise BadModelError(f"a ResNet's depth is 6n + 2 (8, 14, 20, ...), not {spec.depth}")
        return tuple(
            tuple(f"block{inner + 1}_{i}" for i in range(per_inner_block))
            for inner in range(INNER_BLOCKS)
        )

    @staticmethod
    def skippable(spec: ModelSpec) -> frozenset[str]:
        """All residual blocks with ``pool``; the blocks of stride 1 with ``option-a``."""
        blocks = frozenset(name for names in ResNet.inner_blocks(spec) for name in names)
        changing = {f"block{inner + 1}_0" for inner in range(1, INNER_BLOCKS)}
        return blocks if spec.downsample == "pool" else blocks - changing

    @staticmethod
    def residual(spec: ModelSpec) -> frozenset[str]:
        """All residual blocks."""
        return frozenset(name for names in ResNet.inner_blocks(spec) for name in names)
