"""Figures of flows, against a simulator that knows what happened and against counting by hand."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from analysis.capture.reader import read_capture
from analysis.tcp.delays import delay_parts, one_way_delays
from analysis.tcp.flight import bytes_in_flight, sack_blocks, zero_windows
from analysis.tcp.flows import flow_figures
from analysis.tcp.rtt import rtt_from_acks, rtt_from_timestamps
from analysis.tcp.segment_kinds import SegmentKind, SegmentKinds
from analysis.tcp.streams import Flow, Stream, streams
from tests.analysis.tcp.tcp_simulator import (
    HEADERS,
    MSS,
    Connection,
    Endpoint,
    Tap,
    Wire,
    write_pcap,
)

MS = 1_000_000
FLOW = Flow("10.0.0.1", 40000, "10.0.0.2", 5001)
RATE_MBIT, DELAY_MS = 10, 5
FULL_MS, BARE_MS = ((HEADERS + size) * 8e-3 / RATE_MBIT for size in (MSS, 0))


def simulate(dropped: tuple[int, ...] = (), isn: int = 1000) -> tuple[Endpoint, Endpoint]:
    sender = Endpoint(FLOW.src, FLOW.sport, isn, Tap(), Wire(RATE_MBIT, DELAY_MS), set(dropped))
    receiver = Endpoint(FLOW.dst, FLOW.dport, 2**32 - 5, Tap(), Wire(RATE_MBIT, DELAY_MS))
    connection = Connection(sender, receiver, 10 * MS)
    connection.write(30 * MS, sender, 200_000)
    connection.run()
    return sender, receiver


def table(endpoint: Endpoint, path: Path) -> pl.DataFrame:
    write_pcap(path, sorted(endpoint.tap.packets, key=lambda seen: seen[0]))
    return read_capture(path).packets


def captured(endpoint: Endpoint, path: Path) -> Stream:
    return streams(table(endpoint, path))[FLOW][0]


def written(path: Path, packets: list[tuple[int, bytes]]) -> Stream:
    write_pcap(path, packets)
    return streams(read_capture(path).packets)[FLOW][0]


def packet(
    flow: Flow,
    flags: str,
    seq: int,
    size: int = 0,
    ack: int = 0,
    window: int = 8192,
    options: list[tuple[str, object]] | None = None,
    ip_id: int = 1,
) -> bytes:
    tcp = TCP(sport=flow.sport, dport=flow.dport, flags=flags, seq=seq % 2**32, ack=ack % 2**32)
    tcp.window, tcp.options = window, options or []
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    return bytes(ether / IP(src=flow.src, dst=flow.dst, id=ip_id) / tcp / bytes(size))


def test_the_least_round_trip_is_that_of_the_link(tmp_path: Path) -> None:
    stream = captured(simulate()[0], tmp_path / "a.pcap")
    least_ms = 2 * DELAY_MS + FULL_MS + BARE_MS
    samples = rtt_from_acks(stream).filter(pl.col("end_byte") > 0)
    assert samples["rtt_ns"].min() / MS == pytest.approx(least_ms, abs=1e-3)
    assert not samples["is_ambiguous"].any()


segments = st.lists(
    st.one_of(
        st.tuples(st.just("data"), st.integers(0, 12), st.integers(1, 4)),
        st.tuples(st.just("ack"), st.integers(0, 16), st.just(0)),
    ),
    max_size=30,
)


@given(segments)
@settings(deadline=None, max_examples=150)
def test_samples_and_flight_agree_with_a_list_of_unanswered_segments(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int, int]]
) -> None:
    packets = [(0, packet(FLOW, "S", 999)), (1, packet(FLOW.reverse, "SA", 0, ack=1000))]
    unanswered: list[tuple[int, int, int, int]] = []
    transmissions: list[tuple[int, int]] = []
    expected, flight, top, acked = [(2, 1, False)], [1, 0], 0, 0
    for row, (what, offset, size) in enumerate(events, start=2):
        if what == "data":
            packets.append((row, packet(FLOW, "A", 1000 + offset, size, ack=1)))
            unanswered.append((offset, offset + size, row, len(transmissions)))
            transmissions.append((offset, offset + size))
            top = max(top, offset + size)
        else:
            packets.append((row, packet(FLOW.reverse, "A", 1, ack=1000 + offset)))
            exact = [each for each in unanswered if each[1] == offset]
            if exact:
                begin, end, sent, nth = exact[0]
                others = transmissions[:nth] + transmissions[nth + 1 :]
                twice = any(b < end and e > begin for b, e in others)
                expected.append((row, row - sent, twice))
            unanswered = [each for each in unanswered if each[1] > offset]
            acked = max(acked, offset)
        flight.append(max(top - acked, 0))
    stream = written(tmp_path_factory.mktemp("a") / "a.pcap", packets)
    samples = rtt_from_acks(stream).filter(pl.col("end_byte") > 0)
    found = list(zip(samples["ack_row"], samples["rtt_ns"], samples["is_ambiguous"], strict=True))
    assert found == expected[1:]
    assert bytes_in_flight(stream)["flight_bytes"].to_list() == flight


def test_a_timestamp_tells_which_transmission_was_answered(tmp_path: Path) -> None:
    stamps = [("NOP", None), ("NOP", None)]
    stream = written(
        tmp_path / "a.pcap",
        [
            (0, packet(FLOW, "S", 99, options=[*stamps, ("Timestamp", (1, 0))])),
            (5, packet(FLOW.reverse, "SA", 0, ack=100, options=[*stamps, ("Timestamp", (70, 1))])),
            (10, packet(FLOW, "A", 100, 8, ack=1, options=[*stamps, ("Timestamp", (2, 70))])),
            (11, packet(FLOW, "A", 108, 8, ack=1, options=[*stamps, ("Timestamp", (2, 70))])),
            (50, packet(FLOW, "A", 100, 8, ack=1, options=[*stamps, ("Timestamp", (3, 70))])),
            (57, packet(FLOW.reverse, "A", 1, ack=108, options=[*stamps, ("Timestamp", (71, 3))])),
            (58, packet(FLOW.reverse, "A", 1, ack=116, options=[*stamps, ("Timestamp", (71, 2))])),
            (90, packet(FLOW.reverse, "A", 1, ack=116, options=[*stamps, ("Timestamp", (72, 3))])),
        ],
    )
    assert rtt_from_timestamps(stream).rows() == [(5, 5), (57, 7), (58, 48)]
    by_ack = rtt_from_acks(stream)
    assert by_ack.select("t_ns", "rtt_ns", "is_ambiguous").rows() == [
        (5, 5, False),
        (57, 47, True),
        (58, 47, False),
    ]


def test_blocks_of_selective_acknowledgements_are_offsets(tmp_path: Path) -> None:
    """RFC 2018 and RFC 2883, across the end of the sequence numbers."""
    isn = 2**32 - 100

    def blocks(*edges: int) -> list[tuple[str, object]]:
        return [("SAck", tuple((isn + 1 + edge) % 2**32 for edge in edges))]

    stream = written(
        tmp_path / "a.pcap",
        [
            (0, packet(FLOW, "S", isn)),
            (1, packet(FLOW, "A", isn + 1, 400)),
            (2, packet(FLOW.reverse, "A", 1, ack=isn + 1 + 50, options=blocks(80, 90))),
            (3, packet(FLOW.reverse, "A", 1, ack=isn + 51, options=blocks(150, 200, 80, 90))),
            (4, packet(FLOW.reverse, "A", 1, ack=isn + 201, options=blocks(80, 90, 300, 400))),
            (5, packet(FLOW.reverse, "A", 1, ack=isn + 201, options=blocks(310, 320, 300, 400))),
        ],
    )
    assert sack_blocks(stream).rows() == [
        (2, 50, 80, 90, False),
        (3, 50, 150, 200, False),
        (3, 50, 80, 90, False),
        (4, 200, 80, 90, True),
        (4, 200, 300, 400, False),
        (5, 200, 310, 320, True),
        (5, 200, 300, 400, False),
    ]


def test_windows_are_scaled_as_the_handshake_said(tmp_path: Path) -> None:
    stream = written(
        tmp_path / "a.pcap",
        [
            (0, packet(FLOW, "S", 99, window=1000, options=[("WScale", 2)])),
            (1, packet(FLOW.reverse, "SA", 0, ack=100, window=500, options=[("WScale", 7)])),
            (2, packet(FLOW, "A", 100, 8, ack=1)),
            (3, packet(FLOW.reverse, "A", 1, ack=108, window=2)),
            (4, packet(FLOW.reverse, "A", 1, ack=108, window=0)),
            (7, packet(FLOW.reverse, "A", 1, ack=108, window=3)),
            (9, packet(FLOW.reverse, "A", 1, ack=108, window=0)),
        ],
    )
    windows = bytes_in_flight(stream)["window_bytes"].to_list()
    assert windows == [None, 500, 500, 256, 0, 384, 0]
    assert zero_windows(stream).rows() == [(4, 7), (9, None)]
    figures = flow_figures(stream)
    assert (figures.zero_windows, figures.zero_window_ms) == (2, 3e-6)


def test_without_the_handshake_windows_are_not_guessed(tmp_path: Path) -> None:
    stream = written(
        tmp_path / "a.pcap",
        [(2, packet(FLOW, "A", 100, 8, ack=1)), (3, packet(FLOW.reverse, "A", 1, ack=108))],
    )
    assert bytes_in_flight(stream).select("flight_bytes", "window_bytes").rows() == [
        (8, None),
        (0, None),
    ]


@pytest.mark.parametrize("isn", [1000, 2**32 - 60_000], ids=["", "wraps"])
def test_flow_figures_are_what_the_simulator_did(tmp_path: Path, isn: int) -> None:
    dropped = (20 * MSS, 60 * MSS)
    sender, receiver = simulate(dropped, isn)
    figures = flow_figures(captured(sender, tmp_path / "a.pcap"))
    assert figures.payload_bytes == 200_000
    assert figures.repeated_bytes == sum(size for _, size in sender.retransmitted)
    assert figures.retransmissions == figures.fast_retransmissions == len(dropped)
    assert figures.duplicate_acks > 2 * len(dropped)
    assert figures.out_of_order == figures.spurious_retransmissions == 0
    assert figures.packets == sum(
        raw[26:30] == bytes([10, 0, 0, 1]) for _, raw in sender.tap.packets
    )
    arrived = captured(receiver, tmp_path / "b.pcap")
    last_ns = receiver.delivered_ns(200_000)
    there = flow_figures(arrived)
    assert there.goodput_mbit == pytest.approx(200_000 * 8e3 / (last_ns - arrived.t_ns[0]))


def test_a_segment_that_overtook_is_told_from_one_sent_again(tmp_path: Path) -> None:
    """The initial round trip, 10 ms here, is the border."""
    packets = [
        (0, packet(FLOW, "S", 99)),
        (9 * MS, packet(FLOW.reverse, "SA", 0, ack=100)),
        (10 * MS, packet(FLOW, "A", 100, ack=1)),
        (20 * MS, packet(FLOW, "A", 110, 10, ack=1)),
        (29 * MS, packet(FLOW, "A", 100, 10, ack=1)),
        (40 * MS, packet(FLOW, "A", 130, 10, ack=1)),
        (51 * MS, packet(FLOW, "A", 120, 10, ack=1)),
        (60 * MS, packet(FLOW.reverse, "A", 1, ack=140)),
        (61 * MS, packet(FLOW, "A", 120, 10, ack=1)),
        (62 * MS, packet(FLOW, "A", 139, 1, ack=1)),
    ]
    kinds = SegmentKinds(written(tmp_path / "a.pcap", packets))
    assert [SegmentKind(kind) for kind in kinds.kind] == [
        *[SegmentKind.PLAIN] * 3,
        SegmentKind.OUT_OF_ORDER,
        SegmentKind.PLAIN,
        SegmentKind.RETRANSMISSION,
        SegmentKind.SPURIOUS_RETRANSMISSION,
        SegmentKind.KEEP_ALIVE,
    ]


def test_delay_of_every_packet_and_where_it_went(tmp_path: Path) -> None:
    sender, receiver = simulate(dropped=(20 * MSS,))
    source = (pl.col("src") == 0x0A000001) & (pl.col("dst") == 0x0A000002)
    sent = table(sender, tmp_path / "a.pcap").filter(source)
    received = table(receiver, tmp_path / "b.pcap").filter(source)
    delays = one_way_delays(sent, received)
    assert delays.height == sent.height
    assert delays["arrived_ns"].null_count() == 1
    arrived = delays.drop_nulls()
    parts = delay_parts(arrived, RATE_MBIT)
    assert parts.propagation_ns == pytest.approx(DELAY_MS * MS, abs=1)
    assert parts.queueing_ns.min() == pytest.approx(0, abs=1)
    free_ns, expected = 0.0, []
    for t_ns, size in zip(sent["t_ns"], sent["wirelen"], strict=True):
        expected.append(max(free_ns - t_ns, 0.0))
        free_ns = max(t_ns, free_ns) + size * 8e3 / RATE_MBIT
    was_lost = delays["arrived_ns"].is_null().to_numpy()
    until = int(np.argmax(was_lost))
    assert parts.queueing_ns[:until] == pytest.approx(expected[:until], abs=2)
    total = parts.propagation_ns + parts.serialisation_ns + parts.queueing_ns
    assert total == pytest.approx(arrived["delay_ns"].to_numpy())


def test_packets_are_matched_whatever_their_order(tmp_path: Path) -> None:
    def one(number: int) -> bytes:
        return packet(FLOW, "A", 100 + number % 2, 10, ip_id=number)

    write_pcap(tmp_path / "a.pcap", [(number, one(number)) for number in range(6)])
    arrivals = [3, 1, 0, 5, 4]
    write_pcap(tmp_path / "b.pcap", [(100 + n, one(who)) for n, who in enumerate(arrivals)])
    delays = one_way_delays(
        read_capture(tmp_path / "a.pcap").packets, read_capture(tmp_path / "b.pcap").packets
    )
    assert delays["delay_ns"].to_list() == [102, 100, None, 97, 100, 98]
