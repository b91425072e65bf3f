"""Prefix-runnable checkpoints: a file whose every completed configuration runs.

A plain ``.safetensors`` file (https://huggingface.co/docs/safetensors) whose tensors lie in the
order of transmission: first the layers that every configuration needs, then the residual blocks
in the order in which they are added. The file is a sequence of *parts*, each with a SHA-256; a
configuration is complete with the last byte of its last part. The header's ``__metadata__`` holds

``spec``           the model's specification, JSON
``prefix``         parts and configurations, JSON (:class:`Contents`)
``weights``        how weights are stored, JSON (:mod:`stage_node.models.weight_format`);
                   float32 without
``header_sha256``  digest of the header with this very value replaced by zeros

The safetensors library reads the whole file unchanged, and refuses a short one; this reader
takes the bytes as they come.
"""

import hashlib
import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from stage_node.errors import BadModelError
from stage_node.models import (
    Family,
    ModelSpec,
    Segment,
    layers_of,
    load_weights,
)
from stage_node.models.checkpoint import format_of, layer_of, spec_of
from stage_node.models.norm_statistics import packed_name, unpack_statistics
from stage_node.models.weight_format import SUFFIXES
from stage_node.records.configuration import Configuration, configuration_name
from stage_node.records.record import Record

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 1 << 22
NO_DIGEST = "0" * 64
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I8": torch.int8,
    "U8": torch.uint8,
}


class PrefixError(BadModelError):
    """The bytes are no prefix of a prefix-runnable checkpoint, or ask too much of one."""


class CorruptPartError(PrefixError):
    """Bytes arrived altered and were dropped; fetching again from ``first_byte`` heals."""

    def __init__(self, part: str, first_byte: int, reason: str) -> None:
        super().__init__(f"{part} (from byte {first_byte}) arrived damaged: {reason}")
        self.part = part
        self.first_byte = first_byte


class Part(Record):
    """One unit of integrity; ``end`` counts from the first byte after the header."""

    name: str
    end: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class RunnableConfiguration(Record):
    """A configuration and the byte, counted from after the header, with which it is complete."""

    configuration: Configuration
    end: int = Field(ge=0)


class Contents(Record):
    """Parts in the order of the file, and configurations in growing order."""

    parts: tuple[Part, ...] = Field(min_length=1)
    configurations: tuple[RunnableConfiguration, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        ends = [part.end for part in self.parts]
        rungs = [rung.end for rung in self.configurations]
        if any(a > b for a, b in pairwise(ends)) or any(a > b for a, b in pairwise(rungs)):
            raise ValueError("parts and configurations must be in the order of the file")
        if len({part.name for part in self.parts}) < len(ends):
            raise ValueError("two parts have one name")
        if not set(rungs) <= set(ends):
            raise ValueError("a configuration must end with a part")
        return self


class TensorPlace(Record):
    """Place of a tensor; ``data_offsets`` count from the first byte after the header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class PrefixHeader:
    """The validated header of a prefix-runnable checkpoint."""

    def __init__(self, raw: bytes) -> None:
        """``raw`` is the JSON header without its length; ``ValueError`` says what is wrong."""
        try:
            document = json.loads(raw)
            self.metadata: dict[str, str] = document.pop("__metadata__")
            if header_digest(raw, self.metadata["header_sha256"]) != self.metadata["header_sha256"]:
                raise ValueError("its SHA-256 does not match")
            self.contents = Contents.model_validate_json(self.metadata["prefix"])
            self.tensors = {
                name: TensorPlace.model_validate(place) for name, place in document.items()
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no header of a prefix-runnable checkpoint: {error!r}") from None
        self.spec: ModelSpec = spec_of(self.metadata, "prefix header")
        self.weights = format_of(self.metadata, "prefix header")
        self.data_begin = LENGTH_BYTES + len(raw)
        self._check_places()

    def _check_places(self) -> None:
        """No tensor may straddle parts, and its bytes must be as many as its shape says."""
        bounds = [0, *(part.end for part in self.contents.parts)]
        for name, place in self.tensors.items():
            begin, end = place.data_offsets
            if place.dtype not in DTYPES:
                raise ValueError(f"tensor {name} has the unknown type {place.dtype}")
            size = DTYPES[place.dtype].itemsize
            for extent in place.shape:
                size *= extent
            inside = any(low <= begin <= end <= high for low, high in pairwise(bounds))
            if not inside or end - begin != size:
                raise ValueError(f"tensor {name} does not lie within one part of the file")

    def part_of(self, place: TensorPlace) -> tuple[str, int]:
        """Name and first byte, counted from after the header, of the part that holds a tensor."""
        begin = 0
        for part in self.contents.parts:
            if begin <= place.data_offsets[0] < part.end:
                return part.name, begin
            begin = part.end
        raise ValueError(f"no part holds bytes {place.data_offsets}")

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.data_begin + self.contents.parts[-1].end

    @property
    def configurations(self) -> dict[Configuration, int]:
        """Bytes of the file that make each configuration runnable, in growing order."""
        return {
            rung.configuration: self.data_begin + rung.end for rung in self.contents.configurations
        }


def header_digest(raw: bytes, recorded: str) -> str:
    """SHA-256 of a header in which the recorded digest itself counts as zeros."""
    return hashlib.sha256(raw.replace(recorded.encode(), NO_DIGEST.encode())).hexdigest()


class PrefixReader:
    """Takes a checkpoint's bytes as they arrive and runs what is complete.

    One thread feeds; others may load what has been reported complete.
    """

    def __init__(self) -> None:
        self.header: PrefixHeader | None = None
        self._parts: dict[str, bytearray] = {}  # sound ones, by name, in the order of the file
        self._pending = bytearray()
        self._pending_begin = 0
        self._layers: dict[tuple[str, Configuration | None], nn.Module] = {}

    @property
    def received(self) -> int:
        """Byte to fetch from: file bytes before it are here and sound, or not yet checked."""
        return self._pending_begin + len(self._pending)

    @property
    def missing(self) -> int:
        """Bytes that complete the header, or the next part; 0 once all are here."""
        if self.header is None:
            if len(self._pending) < LENGTH_BYTES:
                return LENGTH_BYTES - len(self._pending)
            length = int.from_bytes(self._pending[:LENGTH_BYTES], "little")
            return LENGTH_BYTES + length - len(self._pending)
        for part in self.header.contents.parts[len(self._parts) :]:
            return self.header.data_begin + part.end - self.received
        return 0

    def completed(self) -> tuple[Configuration, ...]:
        """The configurations that can run now, in growing order."""
        if self.header is None:
            return ()
        ends = self.header.configurations.items()
        return tuple(c for c, end in ends if end <= self._pending_begin)

    def feed(self, data: bytes | bytearray | memoryview) -> tuple[Configuration, ...]:
        """Take the next bytes; returns the configurations that they complete.

        ``CorruptPartError`` for a header or part that does not match its digest: it and all
        that came after it is dropped, and feeding continues from ``received``. ``PrefixError``
        for bytes past the end of the file.
        """
        before = len(self.completed())
        self._pending += data
        if self.header is None:
            self._take_header()
        if self.header is not None:
            self._take_parts(self.header)
        return self.completed()[before:]

    def load(self, configuration: Configuration) -> Segment:
        """The runnable model of a completed configuration, in evaluation mode.

        Configurations share their layers, which never change once they are loaded.
        """
        header = self.require_header()
        if configuration not in self.completed():
            name = configuration_name(configuration)
            raise PrefixError(f"configuration {name} is not complete yet")
        names, own = layers_of(header.spec, configuration), self._own_statistics(configuration)
        return Segment({name: self._layer(name, configuration, own) for name in names}).eval()

    def require_header(self) -> PrefixHeader:
        """The header; ``PrefixError`` when not all of it is here yet."""
        if self.header is None:
            raise PrefixError(f"the header is not complete after {self.received} bytes")
        return self.header

    def _take_header(self) -> None:
        """Parse the header if all of it is here."""
        try:
            if len(self._pending) < LENGTH_BYTES:
                return
            length = int.from_bytes(self._pending[:LENGTH_BYTES], "little")
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes is too long")
            if len(self._pending) < LENGTH_BYTES + length:
                return
            self.header = PrefixHeader(bytes(self._pending[LENGTH_BYTES : LENGTH_BYTES + length]))
        except (ValueError, BadModelError) as error:
            self._pending.clear()
            raise CorruptPartError("header", 0, str(error)) from None
        self._drop_pending(self.header.data_begin)

    def _take_parts(self, header: PrefixHeader) -> None:
        """Verify and keep every part that is complete."""
        for part in header.contents.parts[len(self._parts) :]:
            size = header.data_begin + part.end - self._pending_begin
            if len(self._pending) < size:
                return
            content = self._pending[:size]
            if hashlib.sha256(content).hexdigest() != part.sha256:
                self._pending.clear()
                raise CorruptPartError(part.name, self._pending_begin, "wrong SHA-256")
            self._parts[part.name] = content
            self._drop_pending(size)
        if excess := len(self._pending):
            self._pending.clear()
            raise PrefixError(f"{excess} bytes past the end of the checkpoint")

    def _drop_pending(self, size: int) -> None:
        del self._pending[:size]
        self._pending_begin += size

    def _layer(
        self, layer: str, configuration: Configuration, own: Mapping[str, Tensor]
    ) -> nn.Module:
        """A layer with its weights, and with the configuration's own statistics if it has any."""
        header = self.require_header()
        prefix = f"layers.{layer}."
        has_own = any(name.startswith(prefix) for name in own)
        identity = (layer, configuration if has_own else None)
        if identity not in self._layers:
            module = Family.of(header.spec).layers(header.spec)[layer]()
            stored = {
                name: {"": own.get(prefix + name, fresh)}
                if has_own and name in dict(module.named_buffers())
                else self._stored(prefix + name)
                for name, fresh in module.state_dict().items()
            }
            load_weights(module, header.weights.decode_all(module, stored), assign=True)
            self._layers[identity] = module
        return self._layers[identity]

    def _own_statistics(self, configuration: Configuration) -> dict[str, Tensor]:
        """The configuration's own BatchNorm statistics; empty if it shares the file's."""
        header, name = self.require_header(), packed_name(configuration)
        if name not in header.tensors:
            return {}
        # The last part has the full configuration's, under plain names.
        begin = header.contents.parts[-2].end
        layers = layers_of(header.spec, configuration)
        shapes = {
            plain: place.shape
            for plain, place in header.tensors.items()
            if place.data_offsets[0] >= begin and layer_of(plain) in layers
        }
        try:
            return unpack_statistics(self._tensor(name), shapes)
        except ValueError as error:
            raise PrefixError(str(error)) from None

    def _stored(self, key: str) -> dict[str, Tensor]:
        """Read the file's parts of one tensor, by suffix; ``PrefixError`` if it has none."""
        names = {suffix: key + suffix for suffix in SUFFIXES}
        there = {s: name for s, name in names.items() if name in self.require_header().tensors}
        return {suffix: self._tensor(name) for suffix, name in (there or {"": key}).items()}

    def _tensor(self, name: str) -> Tensor:
        """A tensor that lies in a sound part; ``PrefixError`` where there is none."""
        header = self.require_header()
        place = header.tensors.get(name)
        if place is None:
            raise PrefixError(f"the checkpoint has no tensor {name}")
        part, begin = header.part_of(place)
        if part not in self._parts:
            raise PrefixError(f"tensor {name} belongs to a later part of the checkpoint")
        count = (place.data_offsets[1] - place.data_offsets[0]) // DTYPES[place.dtype].itemsize
        flat = torch.frombuffer(
            self._parts[part],
            dtype=DTYPES[place.dtype],
            count=count,
            offset=place.data_offsets[0] - begin,
        )
        return flat.view(place.shape)
