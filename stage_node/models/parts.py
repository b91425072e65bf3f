"""The pieces that several families of convolutional networks are made of."""

from torch import Tensor, nn
from torch.nn import functional as F


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
    if not missing:
        return x  # F.pad would copy it
    return F.pad(x, (0, 0, 0, 0, missing // 2, missing - missing // 2))


class ConvLayer(nn.Module):
    """Convolution, batch normalisation, ReLU: an input layer, or a layer of a plain chain."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = conv3x3(channels_in, channels_out)
        self.bn = BatchNorm(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H, W)."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


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
