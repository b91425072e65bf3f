"""What the oracle knows, against a transfer in small steps of time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.live.known_rates import KnownRates


@given(
    mbit=st.lists(st.floats(0.1, 50), min_size=1, max_size=6),
    size_bytes=st.floats(100, 50_000),
    t_ms=st.floats(0, 500),
)
def test_a_transfer_takes_as_long_as_its_bits_need(
    mbit: list[float], size_bytes: float, t_ms: float
) -> None:
    known = KnownRates(times_ms=tuple(100.0 * i for i in range(len(mbit))), mbit=tuple(mbit))
    took_ms = known.transfer_ms(size_bytes, t_ms)
    steps = 20_000
    width_ms = took_ms / steps
    bits = sum(known.at(t_ms + (step + 0.5) * width_ms) * 1e3 * width_ms for step in range(steps))
    # A step that straddles a change is counted at one of the two rates.
    slack = len(mbit) * max(mbit) * 1e3 * width_ms + 1e-6 * size_bytes
    assert bits == pytest.approx(8 * size_bytes, abs=slack)
