"""The wire format: a fixed header of 64 bytes, then the payload.

======  =====  =====================================================================
offset  type   field (network byte order)
======  =====  =====================================================================
0       4s     magic, ``CNCT``
4       u8     version, 1
5       u8     kind: what the payload is (``FrameKind``)
6       u16    flags, 0
8       u32    generation: which encoders and decoders this frame is meant for
12      u8     codec of the payload (``codecs``), 0 where there is none
13      u8     element type (``DType``)
14      u8     number of dimensions, at most 5
15      u8     reserved, 0
16      u64    sequence: number of the frame, given by the source
24      5×u32  shape before the codec, unused dimensions 0
44      u64    payload length in bytes
52      u64    send time, monotonic nanoseconds
60      u32    CRC-32 (IEEE 802.3) of the 60 bytes before
======  =====  =====================================================================

Everything here is pure. Lengths are bounded by the reader of the payload: see ``contract``.
"""

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from stage_node.errors import WireError

MAGIC = b"CNCT"
VERSION = 1
MAX_DIMENSIONS = 5
_FIELDS = struct.Struct("!4sBBHIBBBBQ5IQQ")
_CHECKSUM = struct.Struct("!I")
HEADER_BYTES = _FIELDS.size + _CHECKSUM.size


class FrameKind(IntEnum):
    """Kind of a frame's payload."""

    HELLO = 1  # JSON: contract.Hello
    ACTIVATION = 2  # a batch of activations, in a codec
    RESULT = 3  # predicted class per image
    CONTROL = 4  # JSON: messages
    WEIGHTS = 5  # safetensors
    END = 6  # nothing: the sender is done


class DType(IntEnum):
    """Element type of the tensor in a payload."""

    BYTES = 0  # no tensor
    FLOAT32 = 1
    INT64 = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The header of one frame. ``shape`` and ``dtype`` describe the tensor before its codec."""

    kind: FrameKind
    payload_bytes: int
    generation: int = 0
    sequence: int = 0
    codec: int = 0
    dtype: DType = DType.BYTES
    shape: tuple[int, ...] = ()
    t_sent_ns: int = 0

    def encode(self) -> bytes:
        """The 64 bytes on the wire; ``WireError`` when a field does not fit."""
        padding = (0,) * (MAX_DIMENSIONS - len(self.shape))
        try:
            fields = _FIELDS.pack(
                MAGIC,
                VERSION,
                self.kind,
                0,
                self.generation,
                self.codec,
                self.dtype,
                len(self.shape),
                0,
                self.sequence,
                *self.shape,
                *padding,
                self.payload_bytes,
                self.t_sent_ns,
            )
        except struct.error as error:
            raise WireError(f"{self} does not fit the wire format: {error}") from None
        return fields + _CHECKSUM.pack(zlib.crc32(fields))

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview) -> "Header":
        """Parse 64 bytes; ``WireError`` for anything that ``encode`` could not have made."""
        if len(data) != HEADER_BYTES:
            raise WireError(f"a header has {HEADER_BYTES} bytes, not {len(data)}")
        (
            magic,
            version,
            kind,
            flags,
            generation,
            codec,
            dtype,
            dimensions,
            reserved,
            sequence,
            *shape,
            payload_bytes,
            t_sent_ns,
        ) = _FIELDS.unpack_from(data)
        if magic != MAGIC:
            raise WireError(f"not a frame of this protocol: it begins with {magic!r}")
        if version != VERSION:
            raise WireError(f"wire format version {version}, this is version {VERSION}")
        if _CHECKSUM.unpack_from(data, _FIELDS.size)[0] != zlib.crc32(data[: _FIELDS.size]):
            raise WireError("damaged header: its checksum is wrong")
        if flags or reserved:
            raise WireError(f"unknown flags {flags:#x} / {reserved:#x}")
        if dimensions > MAX_DIMENSIONS or any(shape[dimensions:]):
            raise WireError(f"a shape of {dimensions} dimensions: {tuple(shape)}")
        try:
            return cls(
                kind=FrameKind(kind),
                payload_bytes=payload_bytes,
                generation=generation,
                sequence=sequence,
                codec=codec,
                dtype=DType(dtype),
                shape=tuple(shape[:dimensions]),
                t_sent_ns=t_sent_ns,
            )
        except ValueError as error:
            raise WireError(str(error)) from None
