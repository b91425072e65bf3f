"""Which configurations are trained, and how often."""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.accordion.training.sampling import (
    SCHEMES,
    communication_criterion,
    draw,
    full_or_uniform,
    ladder,
    mean_blocks,
    performance_criterion,
    scheme_distribution,
)

RESNET110 = (18, 18, 18)


def test_coml_empties_the_third_inner_block_first_then_the_second_then_the_first():
    assert ladder("coml", (2, 2, 2))[::-1] == (
        (2, 2, 2), (2, 2, 1), (2, 2, 0), (2, 1, 0), (2, 0, 0), (1, 0, 0),
    )  # fmt: skip


def test_two_thirds_of_coml_leave_out_the_whole_third_inner_block():
    rungs = ladder("coml", RESNET110)
    assert len(rungs) == 54
    assert rungs[36 - 1] == (18, 18, 0)


def test_block_coml_drops_the_same_number_from_each():
    rungs = ladder("block-coml", RESNET110)
    assert rungs == tuple((j, j, j) for j in range(1, 19))
    assert rungs[12 - 1] == (12, 12, 12)  # "66% of the full model" in the paper


def test_blocks_that_change_the_shape_stay():
    assert ladder("resnet", (2, 2, 2), (0, 1, 1)) == (
        (0, 1, 1), (1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2),
    )  # fmt: skip
    assert ladder("block-coml", (2, 2, 2), (0, 1, 1)) == ((0, 1, 1), (1, 1, 1), (2, 2, 2))


@given(
    scheme=st.sampled_from(SCHEMES),
    full=st.tuples(*[st.integers(1, 9)] * 3),
    p_full=st.floats(0, 1),
)
def test_ladders_grow_and_probabilities_sum_to_one(scheme, full, p_full):
    rungs = ladder(scheme, full)
    assert rungs[-1] == full
    for smaller, larger in pairwise(rungs):
        assert smaller != larger
        assert all(a <= b for a, b in zip(smaller, larger, strict=True))
    distribution = scheme_distribution(scheme, rungs, p_full)
    assert tuple(distribution) == rungs
    assert sum(distribution.values()) == pytest.approx(1)
    assert 0 < mean_blocks(distribution) <= 1


@pytest.mark.parametrize(("p_full", "share"), [(0.5, 0.75), (0.3, 0.65)])
def test_training_costs_what_the_paper_says(p_full, share):
    for scheme in ("coml", "block-coml"):
        distribution = scheme_distribution(scheme, ladder(scheme, RESNET110), p_full)
        assert mean_blocks(distribution) == pytest.approx(share, abs=0.01)


def test_ordinary_training_always_draws_the_full_model():
    distribution = scheme_distribution("resnet", ladder("resnet", (3, 3, 3)), p_full=0.5)
    random = Random(0)
    assert {draw(distribution, random) for _ in range(200)} == {(3, 3, 3)}


def test_draws_follow_the_distribution_and_their_seed():
    rungs = ladder("coml", (1, 1, 1))
    distribution = full_or_uniform(rungs, 0.5)
    drawn = [draw(distribution, random) for random in [Random(3)] for _ in range(4000)]
    again = [draw(distribution, random) for random in [Random(3)] for _ in range(4000)]
    assert drawn == again
    counts = Counter(drawn)
    assert counts[1, 1, 1] / 4000 == pytest.approx(0.5, abs=0.03)
    assert counts[1, 0, 0] / 4000 == pytest.approx(0.25, abs=0.03)


def test_a_probability_is_checked():
    with pytest.raises(ValueError, match=r"0\.\.1"):
        full_or_uniform(((1,), (2,)), 1.5)


SIZES = {(1, 1, 1): 400_000, (2, 2, 2): 800_000, (9, 9, 9): 3_500_000}


def test_a_link_asks_for_the_largest_prefix_that_it_carries_in_time():
    # 0.3 s carry 37.5 kB per Mbit/s: 9 Mbit/s 337 kB, 20 Mbit/s 750 kB, 100 Mbit/s 3.75 MB.
    rates = {9: 5.0, 20: 3.0, 25: 1.0, 100: 1.0}
    assert communication_criterion(SIZES, rates, deadline_ms=300) == {
        (1, 1, 1): 0.6, (2, 2, 2): 0.2, (9, 9, 9): 0.2,
    }  # fmt: skip
    with pytest.raises(ValueError, match="400000 bytes in 300 ms"):
        communication_criterion(SIZES, {1: 1.0}, deadline_ms=300)


def test_a_user_asks_for_the_smallest_configuration_that_is_good_enough():
    accuracies = {(1, 1, 1): 0.7, (2, 2, 2): 0.8, (9, 9, 9): 0.93}
    required = {0.5: 1.0, 0.7: 1.0, 0.9: 2.0, 0.99: 7.0}
    assert performance_criterion(accuracies, required) == {
        (1, 1, 1): 0.5, (2, 2, 2): 0.0, (9, 9, 9): 0.5,
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"better than 0\.93"):
        performance_criterion(accuracies, {0.95: 1.0})


@given(
    st.dictionaries(st.floats(0.1, 1e4), st.floats(0.1, 10), min_size=1),
    st.floats(1, 1e5),
    st.floats(1, 10),
)
def test_more_time_never_makes_smaller_configurations_likelier(rates, deadline_ms, longer):
    rates = {**rates, 1e6: 1.0}
    now, later = (
        communication_criterion(SIZES, rates, deadline)
        for deadline in (deadline_ms, deadline_ms * longer)
    )
    served = [rate for rate in rates if rate * 125 * deadline_ms >= 400_000]
    assert sum(now.values()) == pytest.approx(1)
    if len(served) == len(rates):
        assert later[9, 9, 9] >= now[9, 9, 9] - 1e-9
        assert later[1, 1, 1] <= now[1, 1, 1] + 1e-9
