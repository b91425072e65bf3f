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

INNER_BLOCKS = 3


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose state is only what inference needs: no counter of batches."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("num_batches_tracked", None)

    def _load_from_state_dict(self, *arguments: object) -> None:
        # torch would add the counter that older checkpoints lack.
        nn.Module._load_from_state_dict(self, *arguments)


def conv3x3(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution without bias, initialised as in He et al. (ICCV 2015)."""
    conv = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight)
    return conv


def pad_channels(x: Tensor, channels: int) -> Tensor:
    """Add zero channels, half of them on either side, up to ``channels``."""
    missing = channels - x.shape[1]
    return F.pad(x, (0, 0, 0, 0, missing // 2, missing - missing // 2))


class Stem(nn.Module):
    """The input layer: convolution, batch normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = conv3x3(channels_in, channels_out)
        self.bn = BatchNorm(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, width, H, W)."""
        return F.relu(self.bn(self.conv(x)))


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
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        return F.relu(residual + pad_channels(shortcut, residual.shape[1]))


class Pool(nn.Module):
    """Halve the resolution by averaging, and fill up with zero channels; nothing to train."""

    def __init__(self, channels_out: int) -> None:
        super().__init__()
        self.channels_out = channels_out

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, channels_out, ceil(H / 2), ceil(W / 2))."""
        return pad_channels(F.avg_pool2d(x, 2, ceil_mode=True), self.channels_out)


class Head(nn.Module):
    """The output layer: mean over the pixels, then a linear classifier."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, classes)."""
        return self.linear(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]


class ResNet(Family):
    """CIFAR-type ResNet: ``stem``, ``block1_0`` ..., (``pool2``), ``block2_0`` ..., ``head``."""

    name = "resnet"

    @staticmethod
    def layers(spec: ModelSpec) -> dict[str, Callable[[], nn.Module]]:
        """The named layers in order."""
        channels = spec.width
        layers: dict[str, Callable[[], nn.Module]] = {
            "stem": partial(Stem, spec.in_channels, channels)
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
        """All residual blocks with ``pool``; those of stride 1 with ``option-a``."""
        blocks = frozenset(name for names in ResNet.inner_blocks(spec) for name in names)
        changing = {f"block{inner + 1}_0" for inner in range(1, INNER_BLOCKS)}
        return blocks if spec.downsample == "pool" else blocks - changing
