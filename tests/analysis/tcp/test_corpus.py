"""The corpus: real captures with loss, reordering, wrap-around and damage, against tshark.

``corpus/record.py`` made the captures, ``corpus/answers.py`` asked tshark about them.
"""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader, RawPcapReader

from analysis.capture.reader import Capture, read_capture
from analysis.tcp.flight import bytes_in_flight, zero_windows
from analysis.tcp.flows import flow_figures
from analysis.tcp.rtt import rtt_from_acks
from analysis.tcp.segment_kinds import SegmentKind, SegmentKinds
from analysis.tcp.streams import Stream, streams
from tests.analysis.corpus.answers import ANSWERS, CAPTURES, CORPUS, FLAGS
from tests.analysis.tcp.dissection import dissected

TSHARK = json.loads(ANSWERS.read_text())
EVERY = pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)


def all_streams(path: Path) -> list[Stream]:
    return [each for found in streams(read_capture(path).packets).values() for each in found]


def the_data(name: str) -> Stream:
    """The direction in which a scenario sent its data."""
    return max(all_streams(CORPUS / name), key=lambda stream: stream.payload_bytes)


def frames(rows: np.ndarray, chosen: np.ndarray) -> set[int]:  # type: ignore[type-arg]
    return {int(row) + 1 for row in rows[chosen]}


def test_every_capture_has_its_answers() -> None:
    assert {path.name for path in CAPTURES} == TSHARK.keys() - {"tshark"}
    assert len(CAPTURES) == 9


@EVERY
def test_packets_and_bytes_are_tsharks(path: Path) -> None:
    packets = read_capture(path).packets
    assert packets.height == TSHARK[path.name]["packets"]
    assert packets["wirelen"].sum() == TSHARK[path.name]["bytes"]
    assert packets["payload_len"].sum() == TSHARK[path.name]["payload_bytes"]


@EVERY
def test_every_packet_is_what_scapy_dissects(path: Path) -> None:
    is_newer = path.suffix == ".pcapng"
    rows: list[dict[str, object]] = []
    with (RawPcapNgReader if is_newer else RawPcapReader)(str(path)) as reader:
        table = read_capture(path).packets
        for found in table.iter_rows(named=True):
            raw, meta = reader._read_packet()
            if is_newer:
                t_ns = (meta.tshigh << 32 | meta.tslow) * 10**9 // meta.tsresol
            else:
                t_ns = meta.sec * 10**9 + meta.usec * (1 if reader.nano else 1000)
            rows.append(dissected(raw, t_ns, meta.wirelen, found["interface"]))
    assert table.rows(named=True) == rows
    assert set(table["interface"]) == ({0, 1} if is_newer else {0})


@EVERY
def test_what_each_segment_was_is_what_tshark_says(path: Path) -> None:
    ours: dict[str, set[int]] = {name: set() for name in FLAGS}
    for stream in all_streams(path):
        kinds, rows = SegmentKinds(stream), stream.sent.row
        ours["retransmission"] |= frames(rows, kinds.is_retransmission)
        ours["fast_retransmission"] |= frames(rows, kinds.kind == SegmentKind.FAST_RETRANSMISSION)
        ours["spurious_retransmission"] |= frames(
            rows, kinds.kind == SegmentKind.SPURIOUS_RETRANSMISSION
        )
        ours["out_of_order"] |= frames(rows, kinds.is_out_of_order)
        ours["duplicate_ack"] |= frames(rows, kinds.is_duplicate_ack)
        ours["zero_window"] |= frames(rows, kinds.is_zero_window)
        ours["keep_alive"] |= frames(rows, kinds.kind == SegmentKind.KEEP_ALIVE)
    assert ours == {name: set(TSHARK[path.name][name]) for name in FLAGS}


@EVERY
def test_round_trip_times_are_within_a_microsecond_of_tsharks(path: Path) -> None:
    samples = pl.concat([rtt_from_acks(stream) for stream in all_streams(path)])
    ours = dict(zip(samples["ack_row"] + 1, samples["rtt_ns"] / 1e9, strict=True))
    theirs = {int(frame): rtt_s for frame, rtt_s in TSHARK[path.name]["ack_rtt"].items()}
    assert ours.keys() == theirs.keys()
    assert max(abs(ours[frame] - theirs[frame]) for frame in theirs) < 1e-6


@pytest.mark.parametrize("name", ["truncated.pcap", "wrap-sender.pcap"])
def test_bytes_in_flight_are_tsharks(name: str) -> None:
    """Of a segment sent again, tshark counts the bytes from there on."""
    ours = {}
    for stream in all_streams(CORPUS / name):
        flight = bytes_in_flight(stream).filter(pl.col("row").is_in(stream.sent.row))
        ours |= dict(zip(flight["row"] + 1, flight["flight_bytes"], strict=True))
    again = TSHARK[name]["retransmission"]
    theirs = {int(frame): size for frame, size in TSHARK[name]["bytes_in_flight"].items()}
    assert len(theirs) > 100
    assert [f for f, size in theirs.items() if f not in again and ours[f] != size] == []


def test_the_corpus_holds_what_it_is_for() -> None:
    assert TSHARK["loss-sender.pcap"]["fast_retransmission"]
    assert TSHARK["reorder-receiver.pcap"]["out_of_order"]
    assert TSHARK["reorder-receiver.pcap"]["spurious_retransmission"]
    assert TSHARK["zero-window.pcapng"]["zero_window"]
    sequence = read_capture(CORPUS / "wrap-sender.pcap").packets["seq"].to_numpy()
    assert (np.diff(sequence.astype(np.int64)) < -(2**31)).any()


def test_offsets_go_on_where_the_sequence_number_wraps() -> None:
    for name in ("wrap-sender.pcap", "wrap-receiver.pcap"):
        stream = the_data(name)
        assert stream.anchored
        assert stream.payload_bytes == 8 * 20_000
        assert stream.coverage.first_seen(np.arange(0, 160_000, 100)).max() < stream.t_ns.max() + 1


def test_what_left_twice_is_known_at_the_sender() -> None:
    """Beside the loss that made it necessary: segments the receiver's end never saw."""
    sender, receiver = the_data("loss-sender.pcap"), the_data("loss-receiver.pcap")
    figures = flow_figures(sender)
    lost = len(sender.t_ns) - len(receiver.t_ns)
    assert figures.repeated_segments >= lost > 0
    assert figures.payload_bytes == receiver.payload_bytes == 12 * 20_000


def damage(name: str) -> str:
    capture: Capture = read_capture(CORPUS / name)
    return str(capture.damage)


def test_damage_is_told_where_tshark_finds_it() -> None:
    assert (
        damage("truncated.pcap") == "the last record is truncated at byte 73654, after 717 packets"
    )
    assert "cut short in the middle of a packet" in TSHARK["truncated.pcap"]["complaint"]
    assert "File has 3275909890-byte packet" in TSHARK["damaged.pcap"]["complaint"]
    assert damage("damaged.pcap") == "a record of 3275909890 bytes at byte 16888, after 189 packets"
    sound = read_capture(CORPUS / "loss-sender.pcap").packets
    read = read_capture(CORPUS / "damaged.pcap").packets
    untouched = 16_384 // 112  # records that end before the lost sector, at the least
    assert read[:untouched].equals(sound[:untouched])


def test_the_window_was_shut_while_the_receiver_slept() -> None:
    capture = read_capture(CORPUS / "zero-window.pcapng")
    for interface in (0, 1):
        packets = capture.packets.filter(pl.col("interface") == interface)
        found = [each for flow in streams(packets).values() for each in flow]
        stream = max(found, key=lambda stream: stream.payload_bytes)
        closed = zero_windows(stream)
        assert closed.height >= 1
        assert 0.5e9 < (closed["end_ns"] - closed["begin_ns"]).sum() < 1.6e9
        assert stream.payload_bytes == 4 * 20_000


@EVERY
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15
)
@given(data=st.data())
def test_whatever_is_overwritten_what_lies_before_is_read(
    path: Path, tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(200, len(content) - 1))
    rubbish = data.draw(st.binary(min_size=1, max_size=64))
    content[at : at + len(rubbish)] = rubbish
    spoilt = tmp_path / path.name
    spoilt.write_bytes(content)
    capture, sound = read_capture(spoilt), read_capture(path)
    before = read_capture_until(path, at, tmp_path)
    assert capture.packets[:before].equals(sound.packets[:before])
    for found in streams(capture.packets).values():
        for stream in found:
            assert flow_figures(stream).packets == len(stream.sent)


def read_capture_until(path: Path, end: int, directory: Path) -> int:
    """How many whole packets the first bytes of a capture hold."""
    cut = directory / f"cut-{path.name}"
    cut.write_bytes(path.read_bytes()[:end])
    return read_capture(cut).packets.height
