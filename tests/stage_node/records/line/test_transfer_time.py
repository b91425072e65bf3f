"""Times on a line, worked out by hand, and that time and rate are each other's inverse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stage_node.records.line.transfer_time import (
    bytes_per_ms,
    ideal_goodput_mbit,
    serialisation_ms,
    transfer_mbit,
    transfer_ms,
)

rates = st.floats(0.001, 100_000)


def test_a_megabit_per_second_is_125_bytes_in_a_millisecond():
    assert bytes_per_ms(1) == 125
    assert serialisation_ms(1514, 1) == pytest.approx(12.112)
    assert transfer_ms(1514, 1, delay_ms=20) == pytest.approx(32.112)
    assert ideal_goodput_mbit(100) == pytest.approx(95.641, abs=1e-3)


@given(st.integers(1, 10**9), rates)
def test_the_rate_that_a_time_shows_is_that_of_the_line(size_bytes: int, rate_mbit: float):
    duration_ms = serialisation_ms(size_bytes, rate_mbit)
    assert transfer_mbit(size_bytes, duration_ms) == pytest.approx(rate_mbit)
    assert bytes_per_ms(rate_mbit) * duration_ms == pytest.approx(size_bytes)
