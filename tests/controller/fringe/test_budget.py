"""What a bandwidth or a latency leaves for an image: held against packets laid on a link."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import BadTargetsError
from controller.fringe.budget import bytes_for_bandwidth, bytes_for_latency
from stage_node.fringe.bottleneck import choose_bottleneck


def ms_on_the_link(payload_bytes: int, images: int, rate_mbit: float) -> float:
    """Packets of 1448 bytes and their 66 bytes of headers, one after the other."""
    left, wire_bits = 64 + payload_bytes * images, 0.0
    while left > 0:
        wire_bits += 8 * (min(left, 1448) + 66)
        left -= 1448
    return wire_bits / rate_mbit / 1e3


RATES = st.floats(0.05, 1000)


@given(RATES, st.floats(0.1, 500), st.floats(0, 100), st.integers(1, 64))
def test_a_frame_of_the_budget_is_across_in_time_and_a_larger_one_is_not(
    rate_mbit: float, latency_ms: float, delay_ms: float, images: int
) -> None:
    try:
        budget = bytes_for_latency(latency_ms, rate_mbit, delay_ms, images)
    except BadTargetsError:
        assert delay_ms + ms_on_the_link(1, images, rate_mbit) > latency_ms
        return
    fits = math.floor(budget)
    assert delay_ms + ms_on_the_link(fits, images, rate_mbit) <= latency_ms * (1 + 1e-9)
    assert delay_ms + ms_on_the_link(fits + 2, images, rate_mbit) > latency_ms


@given(RATES, st.floats(1, 5000), st.integers(1, 64))
def test_a_link_carries_as_many_inferences_as_the_budget_was_made_for(
    rate_mbit: float, inferences_per_s: float, images: int
) -> None:
    try:
        budget = math.floor(bytes_for_bandwidth(inferences_per_s, rate_mbit, images))
    except BadTargetsError:
        return
    carried_per_s = 1e3 * images / ms_on_the_link(budget, images, rate_mbit)
    assert carried_per_s >= inferences_per_s * (1 - 1e-9)


def test_the_bottleneck_of_the_published_evidence_fits_a_slow_link_in_a_tenth_of_a_second() -> None:
    budget = bytes_for_latency(latency_ms=100, rate_mbit=0.1, delay_ms=72, images=1)
    # 350 bytes of time less 66 of packet and 64 of frame header
    assert budget == 220
    assert choose_bottleneck(budget, (32, 16, 16)).size_bytes <= 220


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (
            lambda: bytes_for_latency(10, 1, delay_ms=10),
            "10 ms: the one-way delay alone is 10 ms; nothing is left",
        ),
        (lambda: bytes_for_latency(10, 2, delay_ms=30), "10 ms: the one-way delay alone is 30 ms"),
        (lambda: bytes_for_latency(0, 1), "0 ms: .* nothing is left"),
        (lambda: bytes_for_latency(1, 1, images=16), "125 bytes of time for a frame of 16 images"),
        (lambda: bytes_for_bandwidth(1e6, 1), "1e[+]06 inferences per second: .* nothing is left"),
        (lambda: bytes_for_bandwidth(0, 1), "sets no limit"),
        (lambda: bytes_for_latency(10, math.inf), "sets no limit"),
    ],
)
def test_a_budget_of_nothing_is_refused(ask, said) -> None:
    with pytest.raises(BadTargetsError, match=said):
        ask()
