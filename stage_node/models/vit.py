"""Vision transformers for small images (Dosovitskiy et al., ICLR 2021), as chains.

``stem`` embeds the patches and adds learned positions; each transformer block, ``block0`` ..., is
one layer of the chain; ``head`` normalises, averages the tokens and classifies. Blocks are
pre-norm: each adds to what it got, keeps its shape, and can be left out. ``depth`` counts the
blocks, ``width`` is the dimension of a token.

Between layers, tokens lie where their patches lay: (N, width, H / patch, W / patch). A 1x1
convolution is then a linear map of every token, so that cuts, bases, codecs and bottlenecks serve
transformers as they serve convolutional networks.
"""

from collections.abc import Callable
from functools import partial

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from stage_node.errors import BadModelError
from stage_node.models.family import Family, FamilyOptions, ModelSpec
from stage_node.models.parts import Head

MLP_RATIO = 4
# As large as what a patch shows: where it lies says as much, and small ones are learned slowly.
POSITION_DEVIATION = 1.0


class ViTOptions(FamilyOptions):
    """``patch``: pixels along a patch's edge; ``heads`` of attention in each block."""

    patch: int = Field(2, gt=0)
    heads: int = Field(4, gt=0)


class PatchEmbedding(nn.Module):
    """The input layer: one token per patch, and where it lies."""

    def __init__(self, channels_in: int, width: int, patch: int, side: int) -> None:
        """``side`` is the number of patches along the image's edge."""
        super().__init__()
        self.project = nn.Conv2d(channels_in, width, patch, patch)
        self.position = nn.Parameter(POSITION_DEVIATION * torch.randn(width, side, side))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, width, side, side)."""
        return self.project(x) + self.position  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Scaled dot-product attention (Vaswani et al., 2017) between given heads; nothing to train."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Each (N, heads, T, width / heads), as the result."""
        return F.scaled_dot_product_attention(query, key, value)

    def macs(self, output: Tensor) -> int:
        """MACs of both matrix products, for one image: T * T * width each."""
        _, heads, tokens, size = output.shape
        return 2 * heads * tokens * tokens * size


class TransformerBlock(nn.Module):
    """Attention between all tokens, then two linear layers for each, both added to the input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.attention = Attention()
        self.merge = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, MLP_RATIO * width), nn.GELU(), nn.Linear(MLP_RATIO * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, side, side) to the same shape."""
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self._attended(self.norm1(tokens))
        tokens = tokens + self.mlp(self.norm2(tokens))
        return tokens.transpose(1, 2).reshape(x.shape)  # type: ignore[no-any-return]

    def _attended(self, tokens: Tensor) -> Tensor:
        split = self.qkv(tokens).unflatten(2, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        mixed = self.attention(query, key, value)
        return self.merge(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class NormHead(Head):
    """The output layer: each token normalised, their mean, a linear classifier."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(width, classes)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, side, side) to logits (N, classes)."""
        return super().forward(self.norm(x.movedim(1, -1)).movedim(-1, 1))


class ViT(Family):
    """Vision transformer: ``stem``, ``block0`` ..., ``head``."""

    name = "vit"
    options = ViTOptions

    @staticmethod
    def layers(spec: ModelSpec) -> dict[str, Callable[[], nn.Module]]:
        """The named layers in order."""
        options = ViTOptions.of(spec)
        if spec.image_size % options.patch:
            raise BadModelError(
                f"patches of {options.patch} pixels do not tile an image of {spec.image_size}"
            )
        if spec.width % options.heads:
            raise BadModelError(f"{options.heads} heads cannot share a width of {spec.width}")
        side = spec.image_size // options.patch
        (blocks,) = ViT.inner_blocks(spec)
        return {
            "stem": partial(PatchEmbedding, spec.in_channels, spec.width, options.patch, side),
            **dict.fromkeys(blocks, partial(TransformerBlock, spec.width, options.heads)),
            "head": partial(NormHead, spec.width, spec.classes),
        }

    @staticmethod
    def inner_blocks(spec: ModelSpec) -> tuple[tuple[str, ...], ...]:
        """The transformer blocks, as one inner block: the resolution never changes."""
        return (tuple(f"block{i}" for i in range(spec.depth)),)

    @staticmethod
    def skippable(spec: ModelSpec) -> frozenset[str]:
        """All transformer blocks."""
        return frozenset(*ViT.inner_blocks(spec))

    @staticmethod
    def residual(spec: ModelSpec) -> frozenset[str]:
        """All transformer blocks."""
        return frozenset(*ViT.inner_blocks(spec))
