"""What iperf3 and ping answer is read as they mean it, and nothing else is taken for an answer."""

import json
from typing import Any

import pytest

from topologies.errors import EmulationError
from topologies.fidelity.probes.independent_tools import parse_flow, parse_pings

PING = """PING 10.0.0.2 (10.0.0.2) 56(84) bytes of data.
64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=0.664 ms
64 bytes from 10.0.0.2: icmp_seq=2 ttl=64 time=70.4 ms
64 bytes from 10.0.0.2: icmp_seq=4 ttl=64 time=145 ms

--- 10.0.0.2 ping statistics ---
4 packets transmitted, 3 received, 25% packet loss, time 303ms
rtt min/avg/max/mdev = 0.664/72.021/145.123/58.955 ms
"""
NO_ANSWER = """PING 10.0.0.2 (10.0.0.2) 56(84) bytes of data.

--- 10.0.0.2 ping statistics ---
3 packets transmitted, 0 received, 100% packet loss, time 2029ms

"""


def interval(size_bytes: int, seconds: float, omitted: bool = False) -> dict[str, Any]:
    sums = {"bytes": size_bytes, "seconds": seconds, "omitted": omitted}
    return {"sum": {**sums, "start": 7.0, "end": 7.0 + seconds}}


def test_pings_have_the_shortest_to_a_microsecond_and_each() -> None:
    pings = parse_pings(PING)
    assert (pings.sent, pings.received, pings.shortest_ms) == (4, 3, 0.664)
    assert pings.rtts_ms == (0.664, 70.4, 145.0)


def test_no_answer_is_an_answer_too() -> None:
    pings = parse_pings(NO_ANSWER)
    assert (pings.sent, pings.received, pings.shortest_ms, pings.rtts_ms) == (3, 0, None, ())


def test_slow_start_and_what_is_left_of_a_second_do_not_count() -> None:
    intervals = [
        interval(500_000, 1.0, omitted=True),
        interval(1_400_000, 1.0),
        interval(1_600_000, 1.0),
        interval(152_040, 0.107),
    ]
    assert parse_flow(json.dumps({"intervals": intervals, "end": {}})).mbit == 12.0


def test_an_interval_that_iperf3_has_begun_before_the_omission_ended_does_not_count() -> None:
    twice = interval(1_500_000, 2.0)
    twice["sum"]["start"] += 1.0  # as iperf3 3.12 tells it
    account = {"intervals": [twice, interval(1_500_000, 1.0)], "end": {}}
    assert parse_flow(json.dumps(account)).mbit == 12.0


def test_datagrams_are_counted_by_the_receiver() -> None:
    end = {"sum": {"packets": 4998, "lost_packets": 46}}
    flow = parse_flow(json.dumps({"intervals": [interval(720, 1.0)], "end": end}))
    assert (flow.datagrams, flow.lost) == (4998, 46)


@pytest.mark.parametrize("text", ["", "[]", '{"intervals": []}', '{"error": "cannot bind"}'])
def test_what_is_no_account_is_an_error_in_one_line(text: str) -> None:
    with pytest.raises(EmulationError, match=r"^iperf3: ") as refusal:
        parse_flow(text)
    assert "\n" not in str(refusal.value)


def test_a_ping_that_says_something_else_is_an_error() -> None:
    with pytest.raises(EmulationError, match="ping: cannot read its answer: 'Usage'"):
        parse_pings("Usage\n")
