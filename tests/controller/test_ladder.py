"""The ladder of a cut and the way down it."""

from hypothesis import given
from hypothesis import strategies as st

from controller.ladder import Ladder, width_ladder

SIXTEEN = width_ladder((16, 8, 8))


def test_the_first_rung_is_the_bypassed_cut_and_the_last_one_channel() -> None:
    first, *_, last = SIXTEEN.rungs
    assert (first.width, first.payload_bytes) == (None, 16 * 8 * 8 * 4)
    assert (last.width, last.payload_bytes) == (1, 8 * 8 * 4)
    assert len(SIXTEEN.rungs) == 16  # bypass, then 15 channels down to 1


def test_a_cut_of_one_channel_can_only_be_bypassed() -> None:
    ladder = width_ladder((1, 4, 4))
    assert [rung.width for rung in ladder.rungs] == [None]
    assert ladder.step_down(0, None, 0.5) is None


def widths_tried(ladder: Ladder, narrowest_good: int, ratio: float = 0.5) -> list[int]:
    """Descend with a floor that breaks below ``narrowest_good`` channels."""
    good, broken, tried = 0, None, []
    while (rung := ladder.step_down(good, broken, ratio)) is not None:
        width = ladder.rungs[rung].width
        assert width is not None
        tried.append(width)
        if width >= narrowest_good:
            good = rung
        else:
            broken = rung
    return tried


def test_steps_are_geometric_first_and_then_finer_around_the_floor() -> None:
    assert widths_tried(SIXTEEN, narrowest_good=1) == [8, 4, 2, 1]
    assert widths_tried(SIXTEEN, narrowest_good=6) == [8, 4, 6, 5]
    assert widths_tried(SIXTEEN, narrowest_good=16) == [8, 12, 14, 15]


@given(
    channels=st.integers(2, 64),
    narrowest=st.integers(1, 64),
    ratio=st.floats(0.05, 0.95),
)
def test_the_narrowest_width_the_floor_allows_is_always_found(
    channels: int, narrowest: int, ratio: float
) -> None:
    tried = widths_tried(width_ladder((channels, 2, 2)), narrowest, ratio)
    assert len(tried) == len(set(tried))
    kept = [width for width in tried if width >= narrowest]
    if narrowest < channels:
        assert min(kept) == narrowest
    else:
        assert not kept


@given(budget=st.floats(0, 5000))
def test_the_weakest_rung_within_a_budget_fits_and_the_one_above_it_does_not(
    budget: float,
) -> None:
    rung = SIXTEEN.weakest_within(budget)
    if rung is None:
        assert SIXTEEN.rungs[-1].payload_bytes > budget
    else:
        assert SIXTEEN.rungs[rung].payload_bytes <= budget
        assert rung == 0 or SIXTEEN.rungs[rung - 1].payload_bytes > budget
