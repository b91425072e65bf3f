"""Captures become a table of packets; scapy's own dissection is the oracle."""

import struct
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.packet import Packet
from scapy.utils import PcapReader

from analysis.capture.reader import pcap, read_capture
from analysis.errors import DamagedCaptureError
from stage_node.repository import REPOSITORY
from tests.analysis.tcp.dissection import OPTIONS, dissected, ether, packets
from tests.analysis.tcp.tcp_simulator import write_pcap

times = st.integers(0, 2**32 * 10**9 - 1)
captured = st.lists(st.tuples(times, packets), max_size=12)


def oracle(path: Path) -> list[dict[str, object]]:
    rows = []
    with PcapReader(str(path)) as reader:
        unit_ns = 1 if reader.nano else 1000
        for raw, meta in iter_raw(reader):
            t_ns = meta.sec * 10**9 + meta.usec * unit_ns
            rows.append(dissected(raw, t_ns, meta.wirelen))
    return rows


def iter_raw(reader: PcapReader):  # type: ignore[no-untyped-def]
    while True:
        try:
            yield reader._read_packet()
        except EOFError:
            return


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(packets=captured, order=st.sampled_from("<>"), nanosecond=st.booleans())
def test_every_field_is_what_scapy_dissects(
    tmp_path: Path, packets: list[tuple[int, Packet]], order: str, nanosecond: bool
) -> None:
    path = tmp_path / "a.pcap"
    raw = [(t_ns, bytes(packet)) for t_ns, packet in packets]
    write_pcap(path, raw, order=order, nanosecond=nanosecond)
    capture = read_capture(path)
    assert capture.damage is None
    assert capture.packets.rows(named=True) == oracle(path)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(packets=captured.filter(bool), data=st.data())
def test_a_truncated_capture_is_read_to_its_end(
    tmp_path: Path, packets: list[tuple[int, Packet]], data: st.DataObject
) -> None:
    path = tmp_path / "a.pcap"
    write_pcap(path, [(t_ns, bytes(packet)) for t_ns, packet in packets])
    whole = read_capture(path).packets
    sizes = [16 + min(len(packet), 96) for _, packet in packets]
    ends = list(accumulate(sizes, initial=24))
    keep = data.draw(st.integers(24, ends[-1]))
    path.write_bytes(path.read_bytes()[:keep])
    capture = read_capture(path)
    complete = sum(end <= keep for end in ends) - 1
    assert capture.packets.equals(whole[:complete])
    if keep in ends:
        assert capture.damage is None
    else:
        assert capture.damage is not None
        assert (capture.damage.byte_offset, capture.damage.packet) == (ends[complete], complete)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        (8, 2**31, "a record of 2147483648 bytes"),
        (4, 10**9, "without sense"),
        (12, 3, "without sense"),
    ],
    ids=["absurd length", "fraction of more than a second", "longer than it was"],
)
def test_damage_is_located_and_nothing_before_it_lost(
    tmp_path: Path, field: int, value: int, reason: str
) -> None:
    path = tmp_path / "a.pcap"
    packet = bytes(ether() / IP(src="10.0.0.1", dst="10.0.0.2") / TCP() / bytes(50))
    write_pcap(path, [(n * 1000, packet) for n in range(10)])
    data = bytearray(path.read_bytes())
    at = 24 + 6 * (16 + 96)
    struct.pack_into("<I", data, at + field, value)
    path.write_bytes(data)
    capture = read_capture(path)
    assert capture.packets.height == 6
    assert capture.damage is not None
    assert capture.damage.byte_offset == at
    assert reason in str(capture.damage)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "too short"),
        (b"\xd4\xc3\xb2\xa1" + bytes(10), "too short"),
        (b"GIF89a" + bytes(100), "not a pcap file"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 96, 101), "link type 101"),
    ],
)
def test_what_is_no_capture_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(content)
    with pytest.raises(DamagedCaptureError, match=message):
        read_capture(path)


def test_records_may_straddle_the_blocks_that_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pcap"
    packet = bytes(ether() / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(seq=7) / bytes(50))
    write_pcap(path, [(n, packet[: 60 + n % 37]) for n in range(500)])
    whole = read_capture(path)
    monkeypatch.setattr(pcap, "BLOCK_BYTES", 1000)
    assert read_capture(path).packets.equals(whole.packets)
    assert whole.packets.height == 500


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and acknowledgements in turn, some with SACK blocks."""
    path = tmp_path_factory.mktemp("many") / "a.pcap"
    ip = ether() / IP(src="10.0.0.1", dst="10.0.0.2")
    data = bytes(ip / TCP(flags="A", options=OPTIONS[1]) / bytes(1448))
    ack = bytes(ip / TCP(flags="A", options=OPTIONS[1]))
    sack = bytes(ip / TCP(flags="A", options=OPTIONS[4]))
    hundred = [*[data, ack] * 49, data, sack]
    write_pcap(path, list(enumerate(hundred * (MANY // 100))))
    return path


MANY = 200_000


def test_it_is_a_hundred_times_as_fast_as_dissection(many: Path) -> None:
    """In processor time, since other work on the machine is not what is measured."""
    ours = min(_seconds(lambda: read_capture(many)) for _ in range(3)) / MANY
    with PcapReader(str(many)) as reader:
        theirs = _seconds(lambda: [reader.read_packet() for _ in range(2000)]) / 2000
    print(f"{1e-6 / ours:.2f} million packets/s, {theirs / ours:.0f} times PcapReader")
    assert theirs / ours > 100


def test_ten_million_packets_would_fit_in_two_gib(many: Path) -> None:
    few = Path(__file__).parents[1] / "corpus" / "truncated.pcap"
    program = "tests.analysis.capture.programs.memory_per_packet"
    command = [sys.executable, "-m", program, str(few), str(many)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    print(f"{float(result.stdout):.0f} bytes of memory per packet")
    assert 40 < float(result.stdout) < 2**31 / 10_000_000


def _seconds(action: Callable[[], object]) -> float:
    begin = time.process_time()
    action()
    return time.process_time() - begin
