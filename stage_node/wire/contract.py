"""Contract of a connection's two ends, agreed before the first activation.

A connection opens with one HELLO frame each way. The reader of the peer's HELLO compares it with
its own: a mismatch ends the connection at once and the error says what differs. The activation
contract bounds the size of everything that follows, so a peer cannot make a stage allocate.
"""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stage_node.errors import ContractMismatchError, WireError
from stage_node.wire.codecs import Codec
from stage_node.wire.frame import DType, FrameKind, Header

PROTOCOL_VERSION = 1


class ActivationContract(BaseModel):
    """Terms of one cut: batches of activations of one shape, in some codecs.

    ``cut`` i lies between stage i and stage i + 1. ``shape`` is (C, H, W) of one image's
    uncompressed activation; a cut module may give it another shape, never more elements.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cut: int = Field(ge=0)
    shape: tuple[int, ...] = Field(min_length=1, max_length=3)
    dtype: Literal["float32"] = "float32"
    codecs: tuple[str, ...] = Field(default=("fp32",), min_length=1)
    max_batch: int = Field(ge=1)

    @property
    def max_payload_bytes(self) -> int:
        """The largest payload that any allowed codec makes of ``max_batch`` images."""
        shape = (self.max_batch, *self.shape)
        return max(Codec.named(name).max_payload_bytes(shape) for name in self.codecs)

    def check(self, header: Header) -> None:
        """``WireError`` unless an ACTIVATION frame keeps to this contract."""
        if Codec.numbered(header.codec).name not in self.codecs:
            raise WireError(f"codec {header.codec} is not allowed by {self}")
        if header.dtype is not DType[self.dtype.upper()]:
            raise WireError(f"{header.dtype.name.lower()} activation where {self.dtype} was agreed")
        if len(header.shape) != 1 + len(self.shape):
            raise WireError(f"activation of shape {header.shape}, agreed on (N, {self.shape})")
        samples, *coded = header.shape
        if not 1 <= samples <= self.max_batch or not 1 <= math.prod(coded) <= math.prod(self.shape):
            raise WireError(f"activation of shape {header.shape} exceeds {self}")
        if header.payload_bytes > Codec.numbered(header.codec).max_payload_bytes(header.shape):
            raise WireError(f"{header.payload_bytes} bytes for an activation of {header.shape}")

    @property
    def raw_bytes_per_image(self) -> int:
        """Bytes of one image's uncompressed activation."""
        return 4 * math.prod(self.shape)


class Hello(BaseModel):
    """The first frame in each direction of a connection between two stages.

    ``sender_stage`` and ``receiver_stage`` are positions in the chain as the *connecting* side
    sees them, so both HELLOs of a connection must be equal but for ``name``, the host that speaks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: int = PROTOCOL_VERSION
    purpose: Literal["activations", "results"]
    name: str = Field(max_length=32)
    model_hash: str = Field(max_length=128)
    sender_stage: int
    receiver_stage: int
    contract: ActivationContract | None

    @classmethod
    def from_payload(cls, payload: bytes | memoryview) -> "Hello":
        """Parse a HELLO frame's payload; ``WireError`` when it is malformed."""
        try:
            return cls.model_validate_json(bytes(payload))
        except ValidationError as error:
            raise WireError(f"malformed HELLO: {error}") from None

    def to_payload(self) -> bytes:
        """JSON, UTF-8."""
        return self.model_dump_json().encode()

    def check(self, theirs: "Hello") -> None:
        """``ContractMismatchError`` naming every field in which the peer's HELLO differs."""
        own_fields, their_fields = _flat(self), _flat(theirs)
        differences = [
            f"{name}: {mine} here, {other} there"
            for name in {**own_fields, **their_fields}
            if (mine := own_fields.get(name)) != (other := their_fields.get(name))
        ]
        if differences:
            raise ContractMismatchError(
                f"{self.name} and {theirs.name} do not agree: {'; '.join(differences)}"
            )


def _flat(hello: Hello) -> dict[str, object]:
    """Fields that must be equal in both HELLOs, the contract's under dotted names."""
    fields = hello.model_dump(exclude={"name", "contract"})
    contract = hello.contract.model_dump() if hello.contract else {}
    return fields | {f"contract.{name}": value for name, value in contract.items()}


HELLO_LIMITS = {FrameKind.HELLO: 16 * 1024}
"""Nothing but a small HELLO is accepted on a new connection."""
