"""A rung: all that was decided about what crosses one cut.

Mechanisms of compression compose in one order. The fringe layers on both sides are pruned, of
channels or of weights. A module (a distilled bottleneck) or a prefix of the cut's basis makes the
activation smaller, of which a share of the elements is kept, quantised and packed, and at last
coded without loss.
"""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Bits = Literal[32, 8, 6, 4, 2]
QUANTISED: tuple[Literal[8, 6, 4, 2], ...] = (8, 6, 4, 2)
"""Bits per element that ranges are calibrated for, in the order in which they are stored."""


class Rung(BaseModel):
    """One setting of a cut; the default is the uncompressed cut.

    ``name`` is for people. ``channels`` is how many channels the sending fringe layer computes and
    the receiving one expects (``None``: all of them), ``weights`` the share of the fringe layers'
    weights that stay. ``width`` is how many coordinates in the cut's basis are sent (``None``: the
    channels as they are), ``module`` the resident bottleneck that takes the basis' place,
    ``bits`` what each element takes (32: IEEE 754 as it is), ``keep`` the share of elements that
    are sent, the largest in magnitude, and ``zstd`` whether the payload is coded by it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="uncompressed", max_length=120)
    channels: int | None = Field(default=None, ge=1)
    weights: float = Field(default=1.0, gt=0, le=1)
    width: int | None = Field(default=None, ge=1)
    module: str | None = Field(default=None, min_length=1, max_length=120)
    bits: Bits = 32
    keep: float = Field(default=1.0, gt=0, le=1)
    zstd: bool = False

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if self.module is not None and self.width is not None:
            raise ValueError("a module decides the width of its codes: give module or width")
        if self.module is not None and self.channels is not None:
            raise ValueError("a module was trained for all channels: give module or channels")
        if self.width is not None and self.channels is not None and self.width > self.channels:
            raise ValueError(f"{self.channels} channels have no {self.width} coordinates")
        return self

    @classmethod
    def of(
        cls,
        of_channels: int,
        channels: int | None = None,
        weights: float = 1.0,
        width: int | None = None,
        module: str | None = None,
        bits: Bits = 32,
        keep: float = 1.0,
        zstd: bool = False,
    ) -> Self:
        """A rung for a cut of ``of_channels`` channels, named after what it does."""
        parts = []
        if channels is not None:
            parts.append(f"pruned to {channels} of {of_channels} channels")
        if weights < 1:
            parts.append(f"{weights:.3g} of the weights")
        if module is not None:
            parts.append(module)
        if width is not None:
            parts.append(f"{width} of {channels or of_channels} channels")
        if keep < 1:
            parts.append(f"{keep:.3g} of the elements")
        if bits < 32:
            parts.append(f"{bits} bit")
        if zstd:
            parts.append("zstd")
        name = ", ".join(parts) or "uncompressed"
        return cls(
            name=name,
            channels=channels,
            weights=weights,
            width=width,
            module=module,
            bits=bits,
            keep=keep,
            zstd=zstd,
        )


UNCOMPRESSED = Rung()
