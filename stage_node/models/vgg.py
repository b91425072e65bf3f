"""VGG-type chains for small images: 3x3 convolutions one after the other, no skip connection.

The convolutions of Simonyan and Zisserman (ICLR 2015), each with batch normalisation, ended by
mean pooling and one linear layer as in the plain networks that He et al. (CVPR 2016, section 4.2)
compare theirs with: depth 3n + 2, an input convolution, then three inner blocks of n convolutions
with widths w, 2w, 4w. Every convolution is a layer of the chain, ``conv1_0`` ..., and so is what
halves the resolution between inner blocks, ``pool2`` and ``pool3``:

``max``   max pooling, as in VGG; the convolution behind it widens, and cannot be left out.
``pool``  average pooling and channel zero padding, an adapter with nothing to train: all
          convolutions of an inner block keep the shape, and any of them can be left out
          (Accordion's treatment of changing dimensions).
"""

from collections.abc import Callable
from functools import partial

from torch import nn

from stage_node.errors import BadModelError
from stage_node.models.family import Family, ModelSpec
from stage_node.models.parts import ConvLayer, Head, Pool

INNER_BLOCKS = 3


class VGG(Family):
    """VGG-type chain: ``stem``, ``conv1_0`` ..., ``pool2``, ``conv2_0`` ..., ``head``."""

    name = "vgg"

    @staticmethod
    def layers(spec: ModelSpec) -> dict[str, Callable[[], nn.Module]]:
        """The named layers in order."""
        if spec.downsample not in ("max", "pool"):
            raise BadModelError(f"a VGG's downsample is max or pool, not {spec.downsample}")
        channels = spec.width
        layers: dict[str, Callable[[], nn.Module]] = {
            "stem": partial(ConvLayer, spec.in_channels, channels)
        }
        for position, names in enumerate(VGG.inner_blocks(spec)):
            channels_out = spec.width * 2**position
            if position > 0 and spec.downsample == "pool":
                layers[f"pool{position + 1}"] = partial(Pool, channels_out)
                channels = channels_out
            elif position > 0:
                layers[f"pool{position + 1}"] = partial(nn.MaxPool2d, 2, ceil_mode=True)
            for name in names:
                layers[name] = partial(ConvLayer, channels, channels_out)
                channels = channels_out
        layers["head"] = partial(Head, channels, spec.classes)
        return layers

    @staticmethod
    def inner_blocks(spec: ModelSpec) -> tuple[tuple[str, ...], ...]:
        """Names of the convolutions, inner block by inner block; not the input layer."""
        per_inner_block, rest = divmod(spec.depth - 2, INNER_BLOCKS)
        if per_inner_block < 1 or rest:
            raise BadModelError(f"a VGG's depth is 3n + 2 (5, 8, 11, ...), not {spec.depth}")
        return tuple(
            tuple(f"conv{inner + 1}_{i}" for i in range(per_inner_block))
            for inner in range(INNER_BLOCKS)
        )

    @staticmethod
    def skippable(spec: ModelSpec) -> frozenset[str]:
        """All convolutions of the inner blocks with ``pool``; those that do not widen else."""
        convolutions = frozenset(name for names in VGG.inner_blocks(spec) for name in names)
        widening = {f"conv{inner + 1}_0" for inner in range(1, INNER_BLOCKS)}
        return convolutions if spec.downsample == "pool" else convolutions - widening

    @staticmethod
    def residual(spec: ModelSpec) -> frozenset[str]:
        """Return no layers: there is no skip connection."""
        return frozenset()
