"""TCP streams from captures, against a simulator that knows what happened."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from analysis.capture.reader import read_capture
from analysis.tcp.coverage import NEVER, Coverage
from analysis.tcp.streams import Flow, Stream, streams
from tests.analysis.tcp.tcp_simulator import MSS, Connection, Endpoint, Tap, Wire, write_pcap

MS = 1_000_000
FLOW = Flow("10.0.0.1", 40000, "10.0.0.2", 5001)


def simulate(
    isn: int = 1000, dropped: tuple[int, ...] = (), size: int = 200_000
) -> tuple[Endpoint, Endpoint]:
    sender = Endpoint(FLOW.src, FLOW.sport, isn, Tap(), Wire(10, 5), set(dropped))
    receiver = Endpoint(FLOW.dst, FLOW.dport, 2**32 - 5, Tap(), Wire(10, 5))
    connection = Connection(sender, receiver, 10 * MS)
    connection.write(30 * MS, sender, size)
    connection.run()
    return sender, receiver


def captured(endpoint: Endpoint, path: Path, flow: Flow = FLOW) -> Stream:
    write_pcap(path, sorted(endpoint.tap.packets, key=lambda seen: seen[0]))
    return streams(read_capture(path).packets)[flow][0]


@pytest.mark.parametrize("isn", [1000, 2**32 - 60_000, 2**32 - 1], ids=["", "wraps", "at once"])
@pytest.mark.parametrize("dropped", [(), (20 * MSS,), (3 * MSS, 60 * MSS)], ids=str)
def test_first_sent_and_complete_delivery_of_every_byte(
    tmp_path: Path, isn: int, dropped: tuple[int, ...]
) -> None:
    sender, receiver = simulate(isn, dropped)
    left = captured(sender, tmp_path / "sender.pcap")
    arrived = captured(receiver, tmp_path / "receiver.pcap")
    assert left.anchored
    assert arrived.anchored
    assert left.payload_bytes == 200_000
    offsets = np.array([0, 1, MSS - 1, MSS, 20 * MSS, 20 * MSS + 7, 100_000, 199_999])
    assert left.time_sent(offsets).tolist() == [sender.sent_ns(offset) for offset in offsets]
    assert arrived.time_delivered(offsets + 1).tolist() == [
        receiver.delivered_ns(offset + 1) for offset in offsets
    ]
    assert int(left.repeated_bytes.sum()) == sum(size for _, size in sender.retransmitted)
    assert len(sender.retransmitted) == len(dropped)


def test_a_hole_holds_back_all_that_follows(tmp_path: Path) -> None:
    _, receiver = simulate(dropped=(20 * MSS,))
    arrived = captured(receiver, tmp_path / "receiver.pcap")
    ends = np.array([20, 21, 22, 23]) * MSS
    delivered = arrived.time_delivered(ends)
    assert delivered[0] < delivered[1] == delivered[2] == delivered[3]
    assert arrived.coverage.first_seen(ends[1:2])[0] < delivered[1]


def test_the_handshake_is_timed(tmp_path: Path) -> None:
    sender, _ = simulate()
    left = captured(sender, tmp_path / "sender.pcap")
    assert left.syn_ns == 10 * MS
    assert (left.syn_ack_ns - left.syn_ns) / MS == pytest.approx(10.1, abs=0.03)


def test_acknowledgements_count_from_the_same_offset(tmp_path: Path) -> None:
    sender, _ = simulate(isn=2**32 - 60_000)
    left = captured(sender, tmp_path / "sender.pcap")
    assert left.ack_offset[-1] == 200_000
    assert (np.diff(left.ack_offset) >= 0).all()


def test_both_directions_are_found(tmp_path: Path) -> None:
    sender, _ = simulate()
    back = captured(sender, tmp_path / "sender.pcap", FLOW.reverse)
    assert back.payload_bytes == 0
    assert back.time_delivered(np.array([1])).tolist() == [NEVER]


def test_what_never_came_is_never(tmp_path: Path) -> None:
    sender, _ = simulate(size=5000)
    left = captured(sender, tmp_path / "sender.pcap")
    assert left.time_sent(np.array([4999, 5000, -1])).tolist()[1:] == [NEVER, NEVER]
    assert left.time_delivered(np.array([5000, 5001])).tolist()[1] == NEVER


def packet(flow: Flow, flags: str, seq: int, size: int = 0, ack: int = 0) -> bytes:
    return bytes(
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        / IP(src=flow.src, dst=flow.dst)
        / TCP(sport=flow.sport, dport=flow.dport, flags=flags, seq=seq % 2**32, ack=ack)
        / bytes(size)
    )


def test_a_port_used_again_is_another_connection(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    write_pcap(
        path,
        [
            (1, packet(FLOW, "S", 100)),
            (2, packet(FLOW, "S", 100)),  # the SYN repeated: still the first connection
            (3, packet(FLOW, "A", 101, size=10)),
            (4, packet(FLOW, "S", 7_000_000)),
            (5, packet(FLOW, "A", 7_000_001, size=20)),
        ],
    )
    first, second = streams(read_capture(path).packets)[FLOW]
    assert (first.syn_ns, first.t_ns.tolist(), first.end.tolist()) == (1, [3], [10])
    assert (second.syn_ns, second.t_ns.tolist(), second.end.tolist()) == (4, [5], [20])


def test_a_keep_alive_probe_adds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    write_pcap(
        path,
        [
            (1, packet(FLOW, "S", 100)),
            (2, packet(FLOW, "A", 100, size=1)),
            (3, packet(FLOW, "A", 101, size=10)),
        ],
    )
    stream = streams(read_capture(path).packets)[FLOW][0]
    assert stream.payload_bytes == 10
    assert stream.time_sent(np.array([0])).tolist() == [3]


def test_without_the_syn_offsets_are_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    write_pcap(path, [(3, packet(FLOW, "A", 555, size=10))])
    stream = streams(read_capture(path).packets)[FLOW][0]
    assert not stream.anchored
    assert stream.begin.tolist() == [0]


segments = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 20)).map(lambda s: (s[0], s[0] + s[1])),
    max_size=25,
)


@given(segments)
def test_coverage_agrees_with_counting_every_byte(spans: list[tuple[int, int]]) -> None:
    t_ns = np.arange(len(spans), dtype=np.int64) * 10
    begin, end = (np.array([s[i] for s in spans], np.int64) for i in (0, 1))
    coverage = Coverage.of(t_ns, begin, end, end - begin + 66)
    first, seen = np.full(100, NEVER), np.zeros(100, np.int64)
    repeated = []
    for t, b, e in zip(t_ns, begin, end, strict=True):
        repeated.append(int((seen[b:e] > 0).sum()))
        first[b:e] = np.minimum(first[b:e], t)
        seen[b:e] += 1
    offsets = np.arange(100)
    assert coverage.first_seen(offsets).tolist() == first.tolist()
    assert coverage.repeated.tolist() == repeated
    complete = np.maximum.accumulate(first)
    assert coverage.complete_before(offsets + 1).tolist() == complete.tolist()
    halves = coverage.payload_between(offsets[:50], offsets[:50] + 50)
    assert halves.tolist() == [int(seen[i : i + 50].sum()) for i in range(50)]
    whole = coverage.wire_between(np.array([0]), np.array([100]))
    assert whole.tolist() == [int((end - begin + 66).sum())]
