"""pcapng becomes the same table of packets; scapy reads the same files beside."""

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.packet import Packet
from scapy.utils import RawPcapNgReader

from analysis.capture.frames import Interface
from analysis.capture.reader import pcapng, read_capture
from analysis.errors import DamagedCaptureError
from tests.analysis.capture.pcapng_writer import NAMES, SIMPLE, STATISTICS, Writer
from tests.analysis.tcp.dissection import dissected, ether, packets

PACKET = bytes(ether() / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(seq=7, flags="A") / bytes(50))
SECOND = 1_700_000_000
RESOLUTIONS = [None, 0, 3, 6, 7, 9, 12, 0x80 | 10, 0x80 | 30, 0x80 | 34, 0x80 | 47]

sections = st.lists(
    st.tuples(
        st.sampled_from("<>"),
        st.lists(st.sampled_from(RESOLUTIONS), min_size=1, max_size=3),
        st.lists(
            st.tuples(
                st.integers(0, 2),
                st.integers(0, 2**32 * 10**9 - 1),
                packets,
                st.sampled_from(["", "why"]),
                st.sampled_from([None, NAMES, STATISTICS]),
            ),
            max_size=6,
        ),
    ),
    min_size=1,
    max_size=3,
)


def units_per_s(resolution: int | None) -> int:
    power = 6 if resolution is None else resolution & 0x7F
    return 2**power if resolution is not None and resolution > 0x7F else 10**power


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(sections=sections)
def test_every_field_is_what_scapy_dissects(
    tmp_path: Path,
    sections: list[tuple[str, list[int | None], list[tuple[int, int, Packet, str, int | None]]]],
) -> None:
    writer, expected, first = Writer(), [], 0
    for order, resolutions, content in sections:
        writer.section(order)
        for number, resolution in enumerate(resolutions):
            writer.interface(f"if{number}", resolution)
        for wish, t_ns, packet, comment, other in content:
            number, raw = wish % len(resolutions), bytes(packet)
            per_s = units_per_s(resolutions[number])
            units = t_ns * per_s // 10**9 % 2**64
            writer.packet(number, units, raw, comment=comment)
            if other is not None:
                writer.block(other, bytes(8))
            t_ns = units * 10**9 // per_s
            expected.append(dissected(raw[:96], t_ns, len(raw), first + number))
        first += len(resolutions)
    path = tmp_path / "a.pcapng"
    path.write_bytes(writer.data)
    capture = read_capture(path)
    assert capture.damage is None
    assert capture.packets.rows(named=True) == expected
    assert [each.name for each in capture.interfaces] == [
        f"if{number}" for _, resolutions, _ in sections for number in range(len(resolutions))
    ]


def test_scapy_reads_the_same_frames_and_times(tmp_path: Path) -> None:
    """The test's own writer is no oracle for the format."""
    writer = Writer()
    writer.section(">")
    writer.interface("a", 9)
    writer.interface("b")
    for number in range(10):
        nanoseconds = SECOND * 10**9 + number
        units = nanoseconds if number % 2 == 0 else nanoseconds // 1000
        writer.packet(number % 2, units, PACKET, comment="x" * number)
    path = tmp_path / "a.pcapng"
    path.write_bytes(writer.data)
    rows = []
    with RawPcapNgReader(str(path)) as reader:
        for _ in range(10):
            raw, meta = reader._read_packet()
            units = meta.tshigh << 32 | meta.tslow
            t_ns = units * 10**9 // meta.tsresol
            number = 0 if meta.ifname == b"a" else 1
            rows.append(dissected(raw, t_ns, meta.wirelen, number))
    assert read_capture(path).packets.rows(named=True) == rows


@pytest.fixture
def whole() -> Writer:
    writer = Writer()
    writer.section()
    writer.interface("eth0", 9)
    for number in range(10):
        writer.packet(0, SECOND * 10**9 + number, PACKET)
    return writer


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_truncated_file_is_read_to_its_end(
    tmp_path: Path, whole: Writer, data: st.DataObject
) -> None:
    ends = [*whole.starts[1:], len(whole.data)]
    keep = data.draw(st.integers(ends[1], len(whole.data)))
    path = tmp_path / "a.pcapng"
    path.write_bytes(whole.data[:keep])
    capture = read_capture(path)
    complete = sum(end <= keep for end in ends) - 2
    assert capture.packets.height == complete
    if keep in ends:
        assert capture.damage is None
    else:
        assert capture.damage is not None
        assert capture.damage.byte_offset == whole.starts[complete + 2]
        assert capture.damage.packet == complete


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        (4, 31, "a packet block of 31 bytes"),
        (4, 2**31, "a packet block of 2147483648 bytes"),
        (8, 1, "an interface that is not described"),
        (12, 2**31, "an impossible time"),
        (20, 4000, "without sense"),
        (24, 3, "without sense"),
        (28 + 96, 5, "two lengths differ"),
        (0, SIMPLE, "a simple packet block, without a time, cannot be read"),
        (0, 2, "an obsolete packet block cannot be read"),
    ],
)
def test_damage_is_located_and_nothing_before_it_lost(
    tmp_path: Path, whole: Writer, field: int, value: int, reason: str
) -> None:
    at = whole.starts[2 + 6]
    struct.pack_into("<I", whole.data, at + field, value)
    path = tmp_path / "a.pcapng"
    path.write_bytes(whole.data)
    capture = read_capture(path)
    assert capture.damage is not None
    assert reason in str(capture.damage)
    assert capture.damage.byte_offset == at
    assert capture.damage.packet == capture.packets.height == 6


def test_blocks_may_straddle_the_buffers_that_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer()
    for section in range(3):
        writer.section("<>"[section % 2])
        for number in range(300):
            if number % 50 == 0:
                writer.interface(f"eth{number}", 9)
            writer.packet(number // 50, SECOND * 10**9 + number, PACKET[: 60 + number % 37])
            if number % 70 == 0:
                writer.block(NAMES, bytes(5000))
    path = tmp_path / "a.pcapng"
    path.write_bytes(writer.data)
    whole = read_capture(path)
    monkeypatch.setattr(pcapng, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(pcapng, "_MAX_INTERFACE_BYTES", 100)
    pieces = read_capture(path)
    assert whole.damage is pieces.damage is None
    assert whole.packets.height == 900
    assert pieces.packets.equals(whole.packets)
    assert pieces.interfaces == whole.interfaces


def test_frames_of_another_link_type_are_kept_but_not_taken_apart(tmp_path: Path) -> None:
    writer = Writer()
    writer.section()
    writer.interface("raw", 9, link_type=101)
    writer.interface("eth0", 9)
    writer.packet(0, SECOND * 10**9, PACKET)
    writer.packet(1, SECOND * 10**9, PACKET)
    path = tmp_path / "a.pcapng"
    path.write_bytes(writer.data)
    capture = read_capture(path)
    assert capture.interfaces == (Interface("raw", 101), Interface("eth0", 1))
    assert capture.packets["is_tcp"].to_list() == [False, True]
    assert capture.packets["src"].to_list() == [0, 0x0A000001]


def test_an_interface_may_count_from_another_second(tmp_path: Path) -> None:
    writer = Writer()
    writer.section()
    writer.interface("eth0", 9, offset_s=SECOND)
    writer.packet(0, 5, PACKET)
    path = tmp_path / "a.pcapng"
    path.write_bytes(writer.data)
    assert read_capture(path).packets["t_ns"].to_list() == [SECOND * 10**9 + 5]


@pytest.mark.parametrize("content", [pcapng.MAGIC, pcapng.MAGIC + bytes(40)])
def test_what_is_no_pcapng_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(content)
    with pytest.raises(DamagedCaptureError, match="not a pcapng file"):
        read_capture(path)
