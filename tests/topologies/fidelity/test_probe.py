"""The parts of the probe that need no network: echoes, windows, attempts, groups."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP

from stage_node.records.vocabulary import DIRECTIONS, ClockKind
from topologies.fidelity.probe import attempted, side_by_side
from topologies.fidelity.probes.echo import echo_request, echoed_sequence, internet_checksum
from topologies.fidelity.probes.goodput import Goodput, window_bytes
from topologies.fidelity.tolerances import PROBE
from topologies.fidelity.verdict import GoodputProbe
from topologies.links.profiles import catalogue, parse_profile
from topologies.networks.shaping import shape_of
from topologies.networks.spec import LinkSpec, direction_of


@given(st.integers(0, 65535), st.integers(0, 65535))
def test_an_echo_request_is_what_scapy_makes_of_it(identifier: int, sequence: int) -> None:
    theirs = ICMP(type="echo-request", id=identifier, seq=sequence) / bytes(56)
    assert echo_request(identifier, sequence) == bytes(theirs)


@given(st.binary(max_size=100))
def test_a_checksummed_message_sums_to_zero(data: bytes) -> None:
    even = data + bytes(len(data) % 2)
    assert internet_checksum(even + internet_checksum(even).to_bytes(2, "big")) in (0, 0xFFFF)


def test_only_the_answer_to_our_own_request_is_taken() -> None:
    def packet(**icmp: Any) -> bytes:
        return bytes(IP(src="10.0.0.2", dst="10.0.0.1") / ICMP(**icmp) / bytes(56))

    assert echoed_sequence(packet(type="echo-reply", id=7, seq=3), 7) == 3
    assert echoed_sequence(packet(type="echo-reply", id=8, seq=3), 7) is None
    assert echoed_sequence(packet(type="echo-request", id=7, seq=3), 7) is None
    assert echoed_sequence(packet(type="echo-reply", id=7, seq=3)[:24], 7) is None


@pytest.mark.parametrize("name", [name for name, p in catalogue().items() if p.up.is_exact])
def test_the_window_fills_the_line_and_does_not_overflow_the_queue(name: str) -> None:
    profile = catalogue()[name]
    for direction in DIRECTIONS:
        one_way = direction_of(profile, direction)
        buffer = shape_of(profile, direction).buffer_bytes
        window = window_bytes(one_way.rate_mbit, one_way.delay_ms, buffer)
        assert window % 1448 == 0
        frames_bytes = window / 1448 * 1514
        flying_bytes = one_way.rate_mbit * 1e6 / 8 * one_way.delay_ms / 1e3
        assert flying_bytes < frames_bytes <= flying_bytes + buffer
        assert frames_bytes <= buffer  # even if it arrives at once


@pytest.mark.parametrize(
    ("clock", "shares", "reported"),
    [
        ("real", [0.999], 0.999),
        ("real", [0.90, 0.98, 0.995, 1.0], 0.995),  # the first within 1 %, no further one is made
        ("real", [0.90, 0.985, 0.97, 0.96, 0.95, 1.0], 0.95),  # the last of five, not the nearest
        ("virtual", [0.999, 1.0], 0.999),  # nothing but the link can have been at fault
    ],
)
def test_of_several_attempts_a_rule_reports_one(
    clock: ClockKind, shares: list[float], reported: float
) -> None:
    left = iter(shares)
    tolerances = PROBE[clock]
    asked = GoodputProbe("a-b", "a_to_b", 8.0, None, tolerances.rate_share)
    probe = attempted(
        asked,
        lambda: Goodput(size_bytes=round(1e6 * next(left)), duration_s=1, longest_pause_ms=0),
        tolerances.attempts,
    )
    made = shares[: shares.index(reported) + 1]
    assert probe.goodput_mbit == pytest.approx(8 * reported)
    assert probe.goodput_error == pytest.approx(reported - 1)
    assert probe.attempt_errors == pytest.approx([share - 1 for share in made])


@given(st.lists(st.floats(0.1, 300), min_size=1, max_size=12))
def test_links_are_measured_side_by_side_while_the_cpu_can_follow(rates: list[float]) -> None:
    links = []
    for number, rate in enumerate(rates):
        way = {"rate_mbit": rate}
        fields = {"down": way, "up": way, "source": "s", "latency": "l"}
        profile = parse_profile(f"p{number}", fields)
        links.append((LinkSpec(a=f"h{number}", b=f"h{number + 1}", profile=profile), profile))
    groups = side_by_side(links, total_mbit=60)
    assert [link for group in groups for link in group] == links
    for group in groups:
        assert len(group) == 1 or sum(p.down.rate_mbit for _, p in group) <= 60
