"""Two runs are the same when every byte of every capture is, and what parts them is found."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Packet as ScapyPacket

from analysis.compare.identity import Difference, Packet, fingerprint, first_difference, packets_of
from analysis.errors import NotARunError
from tests.analysis.tcp.dissection import ether, packets
from tests.analysis.tcp.tcp_simulator import write_pcap

FILE_HEADER, RECORD_HEADER = 24, 16
OPTIONS = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]
START_NS = 1_767_225_600 * 10**9


def tcp(payload: bytes, **fields: object) -> bytes:
    segment = TCP(**{"sport": 4000, "dport": 8000, "options": OPTIONS, **fields})
    return bytes(ether() / IP(src="10.0.0.1", dst="10.0.0.2") / segment / payload)


def udp(payload: bytes) -> bytes:
    return bytes(ether() / IP(src="10.0.0.1", dst="10.0.0.2") / UDP() / payload)


def a_run(directory: Path, **captures: list[tuple[int, bytes]]) -> Path:
    """A run directory with captures only; times are microseconds after the start."""
    (directory / "captures").mkdir(parents=True)
    for name, records in captures.items():
        write_pcap(
            directory / "captures" / f"{name}.pcap",
            [(START_NS + 1000 * t_us, data) for t_us, data in records],
        )
    return directory


FRAMES = [(0, tcp(b"first")), (10, tcp(b"second")), (20, udp(b"third"))]


def test_what_is_the_same_has_no_difference_and_one_fingerprint(tmp_path: Path) -> None:
    one, other = (a_run(tmp_path / name, a=FRAMES, b=FRAMES[:1]) for name in ("one", "other"))
    assert first_difference(one, other) is None
    assert fingerprint(one) == fingerprint(other)
    assert (fingerprint(one).captures, fingerprint(one).packets) == (2, 4)


@pytest.mark.parametrize(
    ("other", "same_headers"),
    [
        ((10, tcp(b"SECOND")), True),  # other bytes of the same length: another processor adds
        ((10, tcp(b"second", seq=1)), False),
        ((10, tcp(b"second", options=OPTIONS[:2])), False),
        ((10, tcp(b"seconds")), False),
        ((11, tcp(b"second")), False),
    ],
)
def test_payload_of_tcp_and_its_checksum_are_not_in_the_hash_of_headers(
    tmp_path: Path, other: tuple[int, bytes], same_headers: bool
) -> None:
    first = fingerprint(a_run(tmp_path / "one", a=FRAMES))
    second = fingerprint(a_run(tmp_path / "other", a=[FRAMES[0], other, FRAMES[2]]))
    assert (first.headers_sha256 == second.headers_sha256) == same_headers
    assert first.everything_sha256 != second.everything_sha256


def test_all_of_what_is_not_tcp_is_in_the_hash_of_headers(tmp_path: Path) -> None:
    first = fingerprint(a_run(tmp_path / "one", a=FRAMES))
    second = fingerprint(a_run(tmp_path / "other", a=[*FRAMES[:2], (20, udp(b"THIRD"))]))
    assert first.headers_sha256 != second.headers_sha256


def test_a_capture_of_another_name_has_another_fingerprint(tmp_path: Path) -> None:
    first, second = (fingerprint(a_run(tmp_path / name, **{name: FRAMES})) for name in "ab")
    assert first.headers_sha256 != second.headers_sha256


def test_the_earliest_of_all_captures_differences_is_told(tmp_path: Path) -> None:
    one = a_run(tmp_path / "one", a=FRAMES, b=FRAMES, c=FRAMES)
    late, early = [*FRAMES[:2], (20, udp(b"other"))], [FRAMES[0], (9, tcp(b"second")), FRAMES[2]]
    other = a_run(tmp_path / "other", a=late, b=early, c=FRAMES)
    found = first_difference(one, other)
    assert found is not None and found.first and found.second
    assert (found.capture, found.number) == ("b.pcap", 1)
    assert (found.first.t_ns - START_NS, found.second.t_ns - START_NS) == (10_000, 9_000)
    assert found.second.data == tcp(b"second")


def test_a_capture_that_only_one_run_has_parts_them_at_its_first_packet(tmp_path: Path) -> None:
    one, other = a_run(tmp_path / "one", a=FRAMES, b=FRAMES), a_run(tmp_path / "two", a=FRAMES)
    begun = Packet(START_NS, len(FRAMES[0][1]), FRAMES[0][1])
    assert first_difference(one, other) == Difference("b.pcap", 0, begun, None)
    assert first_difference(other, one) == Difference("b.pcap", 0, None, begun)


def test_a_capture_without_packets_is_not_one_that_is_missing(tmp_path: Path) -> None:
    one, other = a_run(tmp_path / "one", a=FRAMES, b=[]), a_run(tmp_path / "two", a=FRAMES)
    assert first_difference(one, other) == Difference("b.pcap", 0, None, None)


@pytest.mark.parametrize("kept", [0, 1, RECORD_HEADER - 1, RECORD_HEADER, RECORD_HEADER + 30])
def test_a_record_that_is_cut_off_is_no_packet_and_parts_the_runs(
    tmp_path: Path, kept: int
) -> None:
    one, other = (a_run(tmp_path / name, a=FRAMES) for name in ("one", "other"))
    file = other / "captures/a.pcap"
    last = RECORD_HEADER + len(FRAMES[2][1])
    content = file.read_bytes()
    file.write_bytes(content[: len(content) - last + kept])
    assert len(list(packets_of(file))) == fingerprint(other).packets == 2
    found = first_difference(one, other)
    assert found is not None
    assert (found.capture, found.number, found.second) == ("a.pcap", 2, None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_one_bit_of_one_record_is_found_where_it_is(tmp_path: Path, data: st.DataObject) -> None:
    one, other = tmp_path / "one/captures", tmp_path / "other/captures"
    for folder in (one, other):
        folder.mkdir(parents=True, exist_ok=True)
    frames = data.draw(st.lists(packets, min_size=1, max_size=5), label="frames")
    records = [(START_NS + number, bytes(frame)) for number, frame in enumerate(frames)]
    write_pcap(one / "a.pcap", records, snaplen=65535)
    content = bytearray((one / "a.pcap").read_bytes())
    position = data.draw(st.integers(FILE_HEADER, len(content) - 1), label="position")
    content[position] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    (other / "a.pcap").write_bytes(content)

    ends = [FILE_HEADER]
    for _, frame in records:
        ends.append(ends[-1] + RECORD_HEADER + len(frame))
    struck = max(number for number, begin in enumerate(ends[:-1]) if begin <= position)
    found = first_difference(one.parent, other.parent)
    assert found is not None and (found.capture, found.number) == ("a.pcap", struck)
    before, after = fingerprint(one.parent), fingerprint(other.parent)
    assert before.everything_sha256 != after.everything_sha256


@given(packets, st.integers(0, 200))
def test_headers_of_any_frame_cut_anywhere_are_some_of_its_bytes(
    frame: ScapyPacket, kept: int
) -> None:
    data = bytes(frame)[:kept]
    assert len(Packet(0, len(data), data).headers) <= len(data)


def test_a_capture_of_another_format_is_refused(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    (run / "captures/a.pcap").write_bytes(b"\n\r\r\n and so on")
    with pytest.raises(NotARunError, match="not a capture of the testbed"):
        fingerprint(run)
