"""Eq. 1 and Eq. 2 of US 2025/0265465 A1, [0043], on numbers worked out by hand."""

import pytest

from stage_node.fringe.reductions import bandwidth_reduction, latency_reduction


def test_bandwidth_reduction_is_the_sum_of_w_less_the_sum_of_p():
    assert bandwidth_reduction([4096.0, 2048.0], [512.0, 1024.0]) == 6144 - 1536


def test_latency_reduction_is_the_sum_of_t_less_the_sum_of_l():
    assert latency_reduction([10.0, 4.0, 1.0], [2.0, 5.0, 1.0]) == 7.0


def test_a_connection_that_is_missing_on_one_side_is_refused():
    with pytest.raises(ValueError, match="2 connections before compression, 1 after"):
        bandwidth_reduction([1.0, 2.0], [1.0])
