"""What the server learns of a link from the connections that end."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.accordion.serving.initial_window import route_arguments
from controller.accordion.serving.link_estimate import (
    RESPONSE_HEADER_BYTES,
    TELLING_BYTES,
    LinkEstimate,
    doubted,
    download_time_ms,
    learned,
    paced_mbit,
    path_window,
    sampled,
)
from stage_node.records.line.ethernet import FRAME_BYTES
from stage_node.wire.tcp_info import PathEstimate

PRIOR = LinkEstimate(rate_mbit=20, rtt_ms=50)


def ended(rate_mbit, rtt_ms=50.0, size_bytes=1_000_000, late_ms=0.0):
    """A connection over such a link, as the kernel knows it in the end."""
    took_ms = download_time_ms(size_bytes - RESPONSE_HEADER_BYTES, LinkEstimate(rate_mbit, rtt_ms))
    return PathEstimate(
        rtt_ms, 0, rtt_ms, acked_bytes=size_bytes, busy_ms=took_ms - rtt_ms + late_ms
    )


def test_the_profile_is_believed_until_a_connection_disagrees():
    assert PRIOR.source == "profile"
    assert learned(PRIOR, ended(5, size_bytes=TELLING_BYTES - 1)) == PRIOR
    assert learned(PRIOR, PathEstimate(0, 0)) == PRIOR
    assert learned(PRIOR, ended(20)) == replace(PRIOR, source="measured")
    measured = learned(PRIOR, ended(5, rtt_ms=40))
    assert measured.source == "measured"
    assert measured.rate_mbit == pytest.approx(5, rel=1e-3)
    assert measured.rtt_ms == 40


def test_a_short_answer_takes_as_long_on_any_fast_link_and_says_no_more():
    sample = sampled(ended(300, size_bytes=30_000), 10)
    assert sample.high_mbit is None
    assert sample.low_mbit < 20
    assert learned(PRIOR, ended(300, size_bytes=30_000)).rate_mbit == PRIOR.rate_mbit
    assert learned(PRIOR, ended(20, size_bytes=30_000)).rate_mbit == 20
    assert learned(PRIOR, ended(0.5, size_bytes=30_000)).rate_mbit == pytest.approx(0.5, rel=1e-2)


def test_later_connections_count_half():
    belief = learned(learned(PRIOR, ended(10)), ended(20, rtt_ms=80))
    assert belief.rate_mbit == pytest.approx(15, rel=1e-3)
    assert belief.rtt_ms == 65


@given(rate=st.floats(0.5, 200), rtt=st.floats(1, 300), late_ms=st.floats(0, 4))
def test_on_a_steady_link_the_belief_comes_to_where_connections_agree(rate, rtt, late_ms):
    belief = LinkEstimate(rate_mbit=40, rtt_ms=30)
    size = round(rate * 125 * (1000 + 8 * rtt))
    for _ in range(12):
        belief = learned(belief, ended(rate, rtt, size, late_ms))
    assert belief.rate_mbit == pytest.approx(rate, rel=0.05)
    assert belief.rtt_ms == pytest.approx(rtt, rel=0.01)


def test_after_refusals_the_profile_is_believed_again():
    belief = learned(PRIOR, ended(0.2))
    for _ in range(9):
        belief = doubted(belief, PRIOR)
    assert belief.rate_mbit == pytest.approx(PRIOR.rate_mbit, rel=0.01)
    assert doubted(PRIOR, PRIOR) == PRIOR


@given(rate=st.floats(0.1, 500), rtt=st.floats(0, 700))
def test_a_path_s_window_holds_a_round_trip_of_the_link(rate, rtt):
    link = LinkEstimate(rate, rtt)
    segment_ms = FRAME_BYTES * 8e-3 / rate
    window = path_window(link)
    assert window >= 10
    assert window * segment_ms >= rtt + segment_ms * 0.999
    assert window == 10 or (window - 2) * segment_ms <= rtt + segment_ms


def test_the_initial_window_stays_whatever_is_learned():
    assert learned(replace(PRIOR, window_segments=99), ended(5)).window_segments == 99


def test_sending_is_paced_a_little_above_what_the_link_carries():
    link = LinkEstimate(12.0, 70.0)
    assert 1.0 < paced_mbit(link) / (12 * 1448 / 1514) < 1.2


def test_a_route_keeps_what_it_was_but_for_its_window():
    near = {"dst": "10.0.0.1", "dev": "s-eth0", "prefsrc": "10.0.0.2", "flags": [], "uid": 0}
    assert " ".join(route_arguments(near, 70)) == (
        "route replace 10.0.0.1/32 dev s-eth0 src 10.0.0.2 initcwnd 70"
    )
    far = {"dst": "10.0.3.1", "gateway": "10.0.0.9", "dev": "s-eth0", "flags": []}
    assert " ".join(route_arguments(far, 9)) == (
        "route replace 10.0.3.1/32 via 10.0.0.9 dev s-eth0 initcwnd 9"
    )
