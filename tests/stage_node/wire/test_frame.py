"""A header survives the wire exactly, or is refused."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stage_node.errors import WireError
from stage_node.wire.frame import HEADER_BYTES, MAX_DIMENSIONS, DType, FrameKind, Header

headers = st.builds(
    Header,
    kind=st.sampled_from(FrameKind),
    payload_bytes=st.integers(0, 2**64 - 1),
    generation=st.integers(0, 2**32 - 1),
    sequence=st.integers(0, 2**64 - 1),
    codec=st.integers(0, 255),
    dtype=st.sampled_from(DType),
    shape=st.lists(st.integers(0, 2**32 - 1), max_size=MAX_DIMENSIONS).map(tuple),
    t_sent_ns=st.integers(0, 2**64 - 1),
)


@given(headers)
def test_what_was_sent_is_what_is_read(header: Header) -> None:
    encoded = header.encode()
    assert len(encoded) == HEADER_BYTES == 64
    assert Header.decode(encoded) == header


@given(headers, st.integers(0, 8 * HEADER_BYTES - 1))
def test_a_flipped_bit_is_noticed(header: Header, bit: int) -> None:
    damaged = bytearray(header.encode())
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(WireError):
        Header.decode(damaged)


@given(st.binary(max_size=2 * HEADER_BYTES))
def test_noise_is_no_header(noise: bytes) -> None:
    with pytest.raises(WireError):
        Header.decode(noise)


@pytest.mark.parametrize(
    ("offset", "field", "complaint"),
    [
        (0, b"HTTP", "not a frame of this protocol"),
        (4, b"\x02", "version 2"),
        (5, b"\x63", "99 is not a valid FrameKind"),
        (6, b"\x80\x00", "unknown flags"),
        (13, b"\x63", "99 is not a valid DType"),
        (14, b"\x06", "6 dimensions"),
        (14, b"\x01", "1 dimensions"),  # the header below has two
        (15, b"\x01", "unknown flags"),
    ],
)
def test_a_liar_with_a_correct_checksum_is_refused(
    offset: int, field: bytes, complaint: str
) -> None:
    forged = bytearray(
        Header(kind=FrameKind.ACTIVATION, payload_bytes=8, shape=(2, 1)).encode()[:60]
    )
    forged[offset : offset + len(field)] = field
    with pytest.raises(WireError, match=complaint):
        Header.decode(forged + struct.pack("!I", zlib.crc32(forged)))


@pytest.mark.parametrize(
    "header",
    [
        Header(kind=FrameKind.END, payload_bytes=-1),
        Header(kind=FrameKind.END, payload_bytes=0, generation=2**32),
        Header(kind=FrameKind.END, payload_bytes=0, shape=(1,) * 6),
        Header(kind=FrameKind.END, payload_bytes=0, shape=(2**32,)),
    ],
)
def test_what_does_not_fit_is_not_sent(header: Header) -> None:
    with pytest.raises(WireError, match="does not fit"):
        header.encode()


def test_the_layout_is_the_documented_one() -> None:
    """Written down once more by hand, as another implementation would."""
    header = Header(
        kind=FrameKind.ACTIVATION,
        payload_bytes=0x0102,
        generation=7,
        sequence=0x0A0B,
        codec=1,
        dtype=DType.FLOAT32,
        shape=(8, 16, 4, 4),
        t_sent_ns=0x0C0D,
    )
    fields = bytes.fromhex(
        "434e4354 01 02 0000 00000007 01 01 04 00 0000000000000a0b"
        "00000008 00000010 00000004 00000004 00000000 0000000000000102 0000000000000c0d"
    )
    assert header.encode() == fields + struct.pack("!I", zlib.crc32(fields))
