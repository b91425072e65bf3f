"""Words that agree with their numbers, for every small number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.wording import (
    NOTHING_TO_COMPARE,
    WITHIN_INTERVAL,
    agreeing,
    compared,
    counted,
    multiples,
    number,
    percent,
    plural,
    points,
    side,
    signed,
)

SMALL = range(61)


@pytest.mark.parametrize(
    ("noun", "many"),
    [
        ("answer", "answers"), ("switch", "switches"), ("pass", "passes"), ("other", "others"),
        ("entry", "entries"), ("day", "days"), ("test image", "test images"),
    ],
)  # fmt: skip
def test_nouns_agree_with_every_small_number(noun: str, many: str) -> None:
    assert plural(noun) == many
    for count in SMALL:
        assert counted(count, noun) == f"{count} {noun if count == 1 else many}"
        assert agreeing(count, "was", "were") == ("was" if count == 1 else "were")


def test_equal_is_neither_less_nor_more() -> None:
    for value in SMALL:
        assert compared(value, value) == ("the same" if value else NOTHING_TO_COMPARE)
        assert multiples(value, value) == "just as many"
        assert points(value / 60, value / 60) == "the same"


def test_a_comparison_names_the_side_and_never_a_change_of_nothing() -> None:
    for before in SMALL[1:]:
        for after in SMALL:
            said = compared(before, after)
            if after != before:
                assert said.endswith(" less" if after < before else " more")
                assert not said.startswith("0.0")
    assert compared(1_000_000, 1_000_001) == "the same to 0.1\u00a0%"
    assert compared(0, 5) == compared(None, 5) == compared(5, None) == NOTHING_TO_COMPARE


def test_multiples_are_never_one_point_nothing_times() -> None:
    for size in SMALL[1:]:
        for other in SMALL[1:]:
            said = multiples(size, other)
            assert not said.startswith(("1.0 times", "0.0"))
            if size > other:
                assert "fewer" not in said
            elif size < other:
                assert said.endswith("fewer")
    assert multiples(768, 760) == "1.1\u00a0% more"
    assert multiples(1_000_000, 1_000_001) == "as many to 0.1\u00a0%"


def test_a_change_within_its_interval_is_none() -> None:
    assert compared(100, 90, (-20, 5)) == WITHIN_INTERVAL
    assert compared(100, 90, (-20, -5)) == "10.0\u00a0% less"
    assert points(0.98, 0.967, (-0.042, 0.014)) == WITHIN_INTERVAL
    assert points(0.98, 0.97, (-0.02, -0.001)) == "1.0 percentage point lower"
    assert points(0.98, 0.95) == "3.0 percentage points lower"


@given(st.floats(-1e6, 1e6), st.integers(0, 3))
def test_a_side_agrees_with_the_digits_that_are_shown(value: float, digits: int) -> None:
    shown = signed(value, digits)
    starts = {"less": "\u2212", "more": "+"}.get(side(value, digits))
    assert shown.startswith(starts) if starts else shown.strip("0.") == ""


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(1234567.0, 0, "1\u202f234\u202f567"), (-2.5, 1, "\u22122.5"), (None, 0, "\u2013"),
     (-0.001, 1, "0.0")],
)  # fmt: skip
def test_numbers_read_well(value: float | None, digits: int, shown: str) -> None:
    assert number(value, digits) == shown


def test_shares_are_percentages() -> None:
    assert percent(0.1234) == "12.3\u00a0%"
    assert percent(None) == "\u2013"
