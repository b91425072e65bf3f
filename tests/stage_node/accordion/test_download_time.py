"""The least time of a download against rounds of slow start that are stepped segment by segment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stage_node.accordion.download_time import least_download_time
from stage_node.records.line.ethernet import SEGMENT_BYTES


def stepped_ms(segments: int, segment_ms: float, rtt_ms: float, window: int) -> float:
    """When the last of some segments arrives: each acknowledgement lets two more go (RFC 5681)."""
    sent_ms: list[float] = []
    line_free_ms, credits = 0.0, [0.0] * window
    for _ in range(segments):
        credits.sort()
        begin_ms = max(credits.pop(0), line_free_ms)
        line_free_ms = begin_ms + segment_ms
        sent_ms.append(line_free_ms)
        credits += [line_free_ms + rtt_ms] * 2
    return 2 * rtt_ms + sent_ms[-1]


@given(st.integers(1, 400), st.floats(0.1, 100), st.floats(0, 300), st.sampled_from([1, 2, 10, 40]))
def test_it_is_never_more_than_the_stepped_rounds_nor_much_less(segments, mbit, rtt_ms, window):
    least = least_download_time(segments * SEGMENT_BYTES, SEGMENT_BYTES, mbit, rtt_ms, window)
    segment_ms = SEGMENT_BYTES * 8e-3 / mbit
    assert least.total_ms == pytest.approx(
        stepped_ms(segments, segment_ms, rtt_ms, window), rel=1e-9, abs=1e-6
    )


def test_the_initial_window_of_ten_waits_for_one_round_trip():
    """Eleven segments of 1 ms over 100 ms: the tenth is out at 10 ms, the eleventh waits to 101."""
    least = least_download_time(11 * 125, 125, 1.0, 100.0, 10)
    assert (least.handshake_ms, least.request_ms) == (100, 100)
    assert least.slow_start_ms == pytest.approx(100 - 9)
    assert least.total_ms == pytest.approx(200 + 101 + 1)


def test_a_window_that_fills_the_line_never_waits():
    least = least_download_time(1_000_000, 1448, 10.0, 5.0, 64)
    assert least.slow_start_ms == 0
    assert least.payload_ms == pytest.approx(800)
