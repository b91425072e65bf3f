"""The ladder of a cut, what stays on it, and the way down."""

from hypothesis import given
from hypothesis import strategies as st

from controller.fringe.mechanisms import ORDER, CutFacts, Mechanism, combinations
from controller.ladder.ladder import Ladder, LadderRung, pareto
from stage_node.wire.rung import UNCOMPRESSED, Rung


def width_ladder(channels: int) -> Ladder:
    """Every width of a cut, 100 bytes a channel, no loss."""
    widths = [None, *range(channels - 1, 0, -1)]
    rungs = tuple(
        LadderRung(
            rung=Rung.of(channels, width=width),
            payload_bytes=100.0 * (width or channels),
            accuracy=1.0,
        )
        for width in widths
    )
    return Ladder(after="stem", shape=(channels, 5, 5), considered=len(rungs), rungs=rungs)


SIXTEEN = width_ladder(16)


def widths_tried(ladder: Ladder, narrowest_good: int, ratio: float = 0.5) -> list[int]:
    """Descend with a floor that breaks below ``narrowest_good`` channels."""
    good, broken, tried = 0, None, []
    while (rung := ladder.step_down(good, broken, ratio)) is not None:
        width = ladder.rungs[rung].rung.width
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
    tried = widths_tried(width_ladder(channels), narrowest, ratio)
    assert len(tried) == len(set(tried))
    kept = [width for width in tried if width >= narrowest]
    if narrowest < channels:
        assert min(kept) == narrowest
    else:
        assert not kept


@given(budget=st.floats(0, 2000))
def test_the_weakest_rung_within_a_budget_fits_and_the_one_above_it_does_not(
    budget: float,
) -> None:
    rung = SIXTEEN.weakest_within(budget)
    if rung is None:
        assert SIXTEEN.rungs[-1].payload_bytes > budget
    else:
        assert SIXTEEN.rungs[rung].payload_bytes <= budget
        assert rung == 0 or SIXTEEN.rungs[rung - 1].payload_bytes > budget


MEASURED = st.builds(
    LadderRung,
    rung=st.just(Rung(name="something", bits=8)),
    payload_bytes=st.integers(1, 50).map(float),
    accuracy=st.integers(0, 20).map(lambda n: n / 20),
)


@given(others=st.lists(MEASURED, max_size=30), uncompressed=st.integers(0, 20))
def test_what_stays_is_beaten_by_nothing_and_what_goes_is(
    others: list[LadderRung], uncompressed: int
) -> None:
    first = LadderRung(rung=UNCOMPRESSED, payload_bytes=40.0, accuracy=uncompressed / 20)
    kept = pareto([first, *others])
    assert kept[0] == first
    sizes = [rung.payload_bytes for rung in kept]
    assert sizes == sorted(set(sizes), reverse=True)
    for rung in kept[1:]:
        assert not any(
            o.payload_bytes <= rung.payload_bytes and o.accuracy > rung.accuracy for o in others
        )
    for rung in others:
        assert any(
            k.payload_bytes <= rung.payload_bytes
            and (k.accuracy >= rung.accuracy or rung.payload_bytes >= first.payload_bytes)
            for k in kept
        )


@given(others=st.lists(MEASURED, max_size=30), noise=st.sampled_from([0.07, 0.22]))
def test_a_rung_that_only_had_bad_luck_stays(others: list[LadderRung], noise: float) -> None:
    first = LadderRung(rung=UNCOMPRESSED, payload_bytes=51.0, accuracy=1.0)
    kept = pareto([first, *others], noise)
    for rung in others:
        clearly_beaten = any(
            o.payload_bytes <= rung.payload_bytes and o.accuracy >= rung.accuracy + noise
            for o in others
        )
        same_size = [o for o in others if o.payload_bytes == rung.payload_bytes]
        is_best_of_size = rung.accuracy == max(o.accuracy for o in same_size)
        assert (rung in kept) == (is_best_of_size and not clearly_beaten)


FACTS = CutFacts(channels=16, modules=(("bottleneck", 2),), is_chain=True)


@given(mechanisms=st.sets(st.sampled_from(ORDER), min_size=1))
def test_mechanisms_work_alone_and_together(mechanisms: set[str]) -> None:
    rungs = combinations(tuple(mechanisms), FACTS)  # type: ignore[arg-type]
    assert rungs[0] == UNCOMPRESSED
    assert len(rungs) == len(set(rungs)) == len({rung.name for rung in rungs})
    used = {
        "channels": any(rung.channels is not None for rung in rungs),
        "weights": any(rung.weights < 1 for rung in rungs),
        "width": any(rung.width is not None for rung in rungs),
        "distill": any(rung.module is not None for rung in rungs),
        "sparse": any(rung.keep < 1 for rung in rungs),
        "quantise": any(rung.bits < 32 and rung.module is None for rung in rungs),
        "zstd": any(rung.zstd for rung in rungs),
    }
    assert {name for name, is_used in used.items() if is_used} == mechanisms
    if mechanisms >= {"width", "sparse", "quantise", "zstd"}:
        assert any(r.width and r.keep < 1 and r.bits < 32 and r.zstd for r in rungs)
    if mechanisms >= {"channels", "weights", "width"}:
        assert any(r.channels and r.weights < 1 and r.width for r in rungs)
    if mechanisms >= {"weights", "distill"}:
        assert any(r.module and r.weights < 1 for r in rungs)


def test_channels_have_no_setting_where_a_skip_connection_carries_them() -> None:
    assert combinations(("channels",), CutFacts(channels=16)) == (UNCOMPRESSED,)


def test_no_more_coordinates_cross_than_the_sending_layer_has_channels() -> None:
    both = combinations(("channels", "width"), FACTS)
    assert all(rung.width <= rung.channels for rung in both if rung.width and rung.channels)
    on_narrow = combinations(("channels",), FACTS, (UNCOMPRESSED, Rung(width=6)))
    assert {rung.channels for rung in on_narrow if rung.width} == {None, 6, 8, 11}


def test_every_mechanism_is_in_the_order_of_application() -> None:
    assert set(Mechanism.registry) == set(ORDER)
