"""What the server learns of a link from the connections that end."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.accordion.estimate import (
    FRAME_BYTES,
    SEGMENT_BYTES,
    TELLING_BYTES,
    LinkEstimate,
    learned,
    path_window,
)
from controller.accordion.initial_window import route_arguments
from stage_node.tcp_info import PathEstimate

PRIOR = LinkEstimate(rate_mbit=20, rtt_ms=50)
HEADERS = FRAME_BYTES / SEGMENT_BYTES


def ended(payload_mbit, rtt_ms=40.0, window_bytes=1 << 20, acked_bytes=1_000_000):
    """A connection whose window was far larger than its path, unless told otherwise."""
    return PathEstimate(rtt_ms, payload_mbit, rtt_ms, window_bytes, acked_bytes)


def window_limited(payload_mbit, rtt_ms=40.0):
    return ended(payload_mbit, rtt_ms, window_bytes=round(payload_mbit * rtt_ms * 125))


def test_the_profile_is_believed_until_a_connection_tells_otherwise():
    assert PRIOR.source == "profile"
    assert learned(PRIOR, ended(5, acked_bytes=TELLING_BYTES - 1)) == PRIOR
    assert learned(PRIOR, ended(0)) == PRIOR
    measured = learned(PRIOR, ended(5))
    assert measured.source == "measured"
    assert measured.rate_mbit == pytest.approx(5 * HEADERS)
    assert measured.rtt_ms == 40


def test_a_connection_that_its_window_held_back_says_only_what_the_link_carries_at_least():
    assert learned(PRIOR, window_limited(5)) == PRIOR
    faster = learned(PRIOR, window_limited(30))
    assert (faster.source, faster.rate_mbit) == ("measured", pytest.approx(30 * HEADERS))
    assert learned(faster, window_limited(5)) == faster


def test_later_connections_count_half():
    belief = learned(PRIOR, ended(10))
    belief = learned(belief, ended(20, rtt_ms=80))
    assert belief.rate_mbit == pytest.approx(15 * HEADERS)
    assert belief.rtt_ms == 60


@given(rate=st.floats(0.1, 500), rtt=st.floats(1, 700), rounds=st.integers(8, 20))
def test_on_a_steady_link_the_belief_becomes_the_truth(rate, rtt, rounds):
    belief = LinkEstimate(rate_mbit=40, rtt_ms=30)
    for _ in range(rounds):
        belief = learned(belief, ended(rate, rtt, window_bytes=1 << 40))
    assert belief.rate_mbit == pytest.approx(rate * HEADERS)
    assert belief.rtt_ms == pytest.approx(rtt)


def test_a_link_that_has_become_slow_is_believed_to_be_within_a_percent_after_seven():
    belief = learned(PRIOR, ended(50))
    for _ in range(7):
        belief = learned(belief, ended(5))
    assert belief.rate_mbit == pytest.approx(5 * HEADERS, rel=0.1)


@given(rate=st.floats(0.1, 500), rtt=st.floats(0, 700))
def test_a_path_s_window_holds_a_round_trip_of_the_link(rate, rtt):
    link = LinkEstimate(rate, rtt)
    segment_ms = FRAME_BYTES * 8e-3 / rate
    window = path_window(link)
    assert window >= 10
    assert window * segment_ms >= rtt + segment_ms * 0.999
    assert window == 10 or (window - 2) * segment_ms <= rtt + segment_ms


def test_the_learned_window_stays():
    assert learned(replace(PRIOR, window_segments=99), ended(5)).window_segments == 99


def test_a_route_keeps_what_it_was_but_for_its_window():
    near = {"dst": "10.0.0.1", "dev": "s-eth0", "prefsrc": "10.0.0.2", "flags": [], "uid": 0}
    assert " ".join(route_arguments(near, 70)) == (
        "route replace 10.0.0.1/32 dev s-eth0 src 10.0.0.2 initcwnd 70"
    )
    far = {"dst": "10.0.3.1", "gateway": "10.0.0.9", "dev": "s-eth0", "flags": []}
    assert " ".join(route_arguments(far, 9)) == (
        "route replace 10.0.3.1/32 via 10.0.0.9 dev s-eth0 initcwnd 9"
    )
