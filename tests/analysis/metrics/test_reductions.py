"""Eq. 1 and Eq. 2 in the summary: by connection and global, with their share of the whole."""

import pytest

from analysis.metrics.pipeline.reductions import bandwidth_reductions, latency_reductions


def test_each_connection_and_all_of_them_together():
    found = bandwidth_reductions([4000.0, 1000.0], [1000.0, 1500.0], cuts=2)
    assert found is not None
    assert [c.reduction for c in found.connections] == [3000.0, -500.0]
    assert [c.share for c in found.connections] == [0.75, -0.5]
    total = found.total
    assert (total.before, total.after, total.reduction, total.share) == (5000, 2500, 2500, 0.5)


def test_nothing_before_has_no_share():
    found = latency_reductions([0.0], [1.0], cuts=1)
    assert found is not None
    assert (found.total.reduction, found.total.share) == (-1.0, None)


@pytest.mark.parametrize("after", [[], [1.0], [1.0, None]])
def test_a_cut_that_was_not_measured_leaves_no_sum(after):
    assert latency_reductions([1.0, 2.0], after, cuts=2) is None
