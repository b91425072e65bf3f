"""Codecs turn an activation into the bytes of a payload and back.

A codec is known by its name in contracts and by its number on the wire. A new one is a subclass.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor

from stage_node.errors import WireError


class Codec(ABC):
    """One way to write an activation; a subclass registers itself under ``name`` and ``number``."""

    name: ClassVar[str]
    number: ClassVar[int]
    _by_name: ClassVar[dict[str, "Codec"]] = {}
    _by_number: ClassVar[dict[int, "Codec"]] = {}

    def __init_subclass__(cls) -> None:
        Codec._by_name[cls.name] = Codec._by_number[cls.number] = cls()

    @staticmethod
    def named(name: str) -> "Codec":
        """The codec of a contract; ``WireError`` where there is none of that name."""
        try:
            return Codec._by_name[name]
        except KeyError:
            raise WireError(f"unknown codec {name!r}") from None

    @staticmethod
    def numbered(number: int) -> "Codec":
        """The codec of a frame; ``WireError`` where there is none of that number."""
        try:
            return Codec._by_number[number]
        except KeyError:
            raise WireError(f"unknown codec number {number}") from None

    @staticmethod
    def all() -> Iterable["Codec"]:
        """Every codec there is."""
        return Codec._by_name.values()

    @abstractmethod
    def encode(self, activation: Tensor) -> memoryview:
        """The payload of a float32 activation; it may share the tensor's memory."""

    @abstractmethod
    def decode(self, payload: memoryview, shape: tuple[int, ...]) -> Tensor:
        """The float32 activation of a payload; it may share the payload's memory.

        ``WireError`` when the payload is not one of ``shape``.
        """

    @abstractmethod
    def max_payload_bytes(self, shape: tuple[int, ...]) -> int:
        """The largest payload that an activation of this shape can have."""


class Fp32(Codec):
    """The elements themselves, 4 bytes each, in the machine's byte order; nothing is copied."""

    name = "fp32"
    number = 1

    def encode(self, activation: Tensor) -> memoryview:
        """A view of the tensor (of a copy, where it is not contiguous)."""
        return activation.contiguous().numpy().data.cast("B")

    def decode(self, payload: memoryview, shape: tuple[int, ...]) -> Tensor:
        """A view of the payload."""
        if len(payload) != self.max_payload_bytes(shape):
            raise WireError(f"{len(payload)} bytes are no fp32 tensor of shape {shape}")
        return torch.frombuffer(payload, dtype=torch.float32).view(shape)

    def max_payload_bytes(self, shape: tuple[int, ...]) -> int:
        """Exactly the size."""
        return 4 * math.prod(shape)
