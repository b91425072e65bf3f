"""The receive buffer of a window is what the kernel's own arithmetic makes of it."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.errors import EmulationError
from topologies.networks.receive_buffer import receive_buffer_bytes


@given(st.integers(1, 1 << 30))
def test_half_of_a_buffer_is_window_before_6_6(window: int) -> None:
    for release in ("5.15.0-119-generic", "6.1.0-26-amd64", "6.5.13"):
        buffer = receive_buffer_bytes(window, release)
        assert buffer - (buffer >> 1) in (window, window + 1)


@given(st.integers(1, 1 << 30))
def test_the_share_of_payload_is_window_from_6_6_on(window: int) -> None:
    for release in ("6.6.0", "6.12.117", "6.10-rc1", "7.0"):
        buffer = receive_buffer_bytes(window, release)
        assert buffer * 81 >> 8 == window


def test_the_running_kernel_is_meant_where_none_is_named() -> None:
    assert receive_buffer_bytes(10_000) == receive_buffer_bytes(10_000, os.uname().release)


def test_a_release_without_numbers_is_refused() -> None:
    with pytest.raises(EmulationError, match="'mainline' does not begin with two numbers"):
        receive_buffer_bytes(10_000, "mainline")
