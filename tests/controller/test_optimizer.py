"""The loop of FIG. 5, told on simulated pipelines: accuracy, bytes and time as curves."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import BadTargetsError
from controller.ladder import Ladder, width_ladder
from controller.optimizer import Outcome, optimize
from controller.pipeline import Connection, Observation, SplitName, Widths
from controller.targets import FringeTargets
from stage_node.events import Event, Iteration, LoopEnded

SHAPES = ((16, 8, 8), (32, 4, 4))  # 4096 and 2048 bytes per image
IMAGES = {"validation": 300, "test": 300}
HEADER_BYTES = 8  # a frame header, shared by the images of a frame


@dataclass
class SimulatedPipeline:
    """``loss(widths)`` is the share of images that these widths get wrong more than before."""

    shapes: tuple[tuple[int, int, int], ...]
    rates_mbit: tuple[float, ...]
    loss: Callable[[tuple[int, ...]], float]
    accuracy: float = 0.98
    compute_ms: float = 1.0
    active: int = -1
    generations: dict[int, Widths] = field(default_factory=dict)
    splits: list[SplitName] = field(default_factory=list)

    @property
    def ladders(self) -> tuple[Ladder, ...]:
        return tuple(map(width_ladder, self.shapes))

    @property
    def serving(self) -> Widths:
        return self.generations[self.active]

    def observe(self, widths: Widths, split: SplitName) -> Observation:
        self.active = len(self.generations)
        self.generations[self.active] = widths
        self.splits.append(split)
        channels = tuple(w or shape[0] for w, shape in zip(widths, self.shapes, strict=True))
        connections = []
        for sent, shape, rate_mbit in zip(channels, self.shapes, self.rates_mbit, strict=True):
            size_bytes = HEADER_BYTES + sent * shape[1] * shape[2] * 4
            connections.append(Connection(size_bytes, size_bytes * 8 / rate_mbit / 1e3))
        samples = IMAGES[split]
        return Observation(
            generation=self.active,
            widths=widths,
            split=split,
            correct=round(samples * (self.accuracy - self.loss(channels))),
            samples=samples,
            latency_ms_median=self.compute_ms + sum(c.transfer_ms for c in connections),
            connections=tuple(connections),
            begin_ns=0,
            end_ns=1,
        )

    def resume(self, generation: int) -> None:
        self.active = generation


class Recorder:
    """Stands in for ``EventLog``: keeps the events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event_type: type[Event], /, **values: object) -> None:
        self.events.append(event_type(t_ns=0, who="controller", **values))  # type: ignore[arg-type]


def pipeline(
    loss: Callable[[tuple[int, ...]], float] = lambda _: 0.0,
    rates_mbit: tuple[float, ...] = (10.0, 10.0),
    accuracy: float = 0.98,
) -> SimulatedPipeline:
    return SimulatedPipeline(SHAPES, rates_mbit, loss, accuracy)


def run(live: SimulatedPipeline, **targets: float) -> tuple[Outcome, list[Iteration], LoopEnded]:
    record = Recorder()
    floor = {} if "min_accuracy" in targets else {"max_accuracy_loss_points": 1.0}
    outcome = optimize(live, live.ladders, FringeTargets(**floor, **targets), record)
    *iterations, ended = record.events
    assert all(isinstance(event, Iteration) for event in iterations)
    assert isinstance(ended, LoopEnded)
    return outcome, iterations, ended  # type: ignore[return-value]


def cliff(narrowest: tuple[int, ...]) -> Callable[[tuple[int, ...]], float]:
    """No loss down to these widths, 10 points below any of them."""
    return lambda channels: 0.1 * any(c < n for c, n in zip(channels, narrowest, strict=True))


def test_a_target_within_reach_is_met_and_no_more_than_that_is_compressed() -> None:
    live = pipeline()
    outcome, iterations, ended = run(live, bandwidth_reduction=3.0)
    assert outcome.reached and ended.reached
    baseline, *kept, last = iterations
    assert (baseline.outcome, last.outcome) == ("baseline", "target met")
    assert {i.outcome for i in kept} == {"kept"}
    budget = outcome.baseline.size_bytes / 3.0
    assert outcome.best.size_bytes <= budget
    # One channel more at the connection that was compressed last would have missed it.
    one_channel = {0: 256, 1: 64}[last.cut or 0]
    assert outcome.best.size_bytes + one_channel > budget
    assert live.serving == outcome.best.widths == ended.widths


def test_the_connection_that_costs_most_goes_first_and_that_is_time_not_bytes() -> None:
    _, by_bytes, _ = run(pipeline(rates_mbit=(10, 10)), bandwidth_reduction=2.0)
    _, by_time, _ = run(pipeline(rates_mbit=(100, 10)), bandwidth_reduction=2.0)
    assert by_bytes[1].cut == 0  # 4 KiB against 2 KiB at the same rate
    assert by_time[1].cut == 1  # 2 KiB take five times as long


def test_a_step_that_breaks_the_floor_is_rolled_back_and_smaller_ones_are_tried() -> None:
    live = pipeline(cliff((6, 1)), rates_mbit=(1, 1000))
    outcome, iterations, ended = run(live, max_bytes_per_inference=1.0)
    first_cut = [(i.widths[0], i.outcome) for i in iterations if i.cut == 0]
    assert first_cut == [(8, "kept"), (4, "rolled back"), (6, "kept"), (5, "rolled back")]
    # After a roll-back the next step starts from the last good one, not from the broken one.
    assert all(i.widths[0] == 6 for i in iterations if i.cut == 1)
    assert live.serving == (6, 1) == outcome.best.widths
    assert not ended.reached


def test_a_roll_back_is_on_the_live_pipeline_at_once() -> None:
    live = pipeline(cliff((8, 32)))
    serving_at_event = []

    class Watching(Recorder):
        def __call__(self, event_type: type, /, **values: object) -> None:
            super().__call__(event_type, **values)
            serving_at_event.append(live.serving)

    record = Watching()
    targets = FringeTargets(max_accuracy_loss_points=1.0, max_bytes_per_inference=1.0)
    optimize(live, live.ladders, targets, record)
    for event, serving in zip(record.events, serving_at_event, strict=True):
        if isinstance(event, Iteration) and event.outcome == "rolled back":
            assert serving != event.widths
            assert live.loss(tuple(w or s[0] for w, s in zip(serving, SHAPES, strict=True))) == 0


def test_when_one_connection_cannot_go_on_the_other_still_does() -> None:
    live = pipeline(cliff((16, 4)), rates_mbit=(1, 1000))
    outcome, _, ended = run(live, bandwidth_reduction=100.0)
    assert outcome.best.widths == (None, 4)
    assert "not reached, closest was" in ended.reason
    assert "cut 0 at uncompressed, for 15 of 16 channels broke the floor" in ended.reason
    assert "cut 1 at 4 of 32 channels, for 3 of 32 channels broke the floor" in ended.reason


def test_a_floor_that_every_step_breaks_leaves_the_pipeline_as_it_was() -> None:
    live = pipeline(cliff((16, 32)))
    outcome, iterations, ended = run(live, bandwidth_reduction=1.5)
    assert {i.outcome for i in iterations[1:]} == {"rolled back"}
    assert not outcome.reached
    assert outcome.best is outcome.baseline
    assert live.serving == ended.widths == (None, None)


def test_a_target_below_the_strongest_rungs_is_reported_as_missed_not_as_met() -> None:
    outcome, _, ended = run(pipeline(), max_bytes_per_inference=1.0)
    assert outcome.best.widths == (1, 1)
    assert not outcome.reached and not ended.reached
    assert ended.reason.startswith("not reached, closest was 336.0 bytes per inference")
    assert "cut 0 at its strongest (1 of 16 channels)" in ended.reason


def test_a_floor_that_the_uncompressed_model_misses_is_an_error_before_compressing() -> None:
    live = pipeline(accuracy=0.90)
    with pytest.raises(BadTargetsError, match=r"min_accuracy: .* only 0\.9000 of the 0\.9500"):
        run(live, min_accuracy=0.95, bandwidth_reduction=2.0)
    assert list(live.generations.values()) == [(None, None)]


def test_a_model_that_already_meets_the_target_is_left_alone() -> None:
    outcome, iterations, _ = run(pipeline(), max_bytes_per_inference=7000.0)
    assert outcome.reached
    assert [i.outcome for i in iterations] == ["baseline"]


def test_a_latency_target_alone_is_pursued_where_the_time_is_spent() -> None:
    outcome, iterations, _ = run(pipeline(rates_mbit=(1, 100)), max_latency_ms=6.0)
    assert outcome.reached
    assert outcome.best.latency_ms_median <= 6.0
    assert {i.cut for i in iterations[1:]} == {0}


def test_bytes_met_but_latency_not_is_not_the_end() -> None:
    outcome, iterations, _ = run(
        pipeline(rates_mbit=(1, 1)), bandwidth_reduction=2.0, max_latency_ms=9.0
    )
    assert outcome.reached
    assert outcome.best.latency_ms_median <= 9.0
    assert iterations[-2].outcome == "kept"
    assert sum(iterations[-2].bytes_per_inference) <= outcome.baseline.size_bytes / 2


def test_the_floor_in_points_counts_from_the_uncompressed_model() -> None:
    # 294 of 300 right before; one point is 3 images: 291 may be kept, 290 may not.
    images_lost = {8: 3, 7: 4}
    live = pipeline(lambda channels: images_lost.get(channels[0], 0) / 300)
    _, iterations, _ = run(live, max_bytes_per_inference=4096 / 2 + 2048 + 16)
    assert (iterations[1].widths[0], iterations[1].outcome) == (8, "target met")


def test_no_decision_is_taken_on_the_test_split() -> None:
    live = pipeline()
    run(live, bandwidth_reduction=4.0)
    assert set(live.splits) == {"validation"}


@given(
    narrowest=st.tuples(st.integers(1, 16), st.integers(1, 32)),
    rates_mbit=st.tuples(st.floats(0.1, 1000), st.floats(0.1, 1000)),
    bandwidth_reduction=st.floats(1, 40),
)
def test_whatever_the_curves_the_floor_holds_and_the_verdict_is_true(
    narrowest: tuple[int, int], rates_mbit: tuple[float, float], bandwidth_reduction: float
) -> None:
    live = pipeline(cliff(narrowest), rates_mbit)
    outcome, _, ended = run(live, bandwidth_reduction=bandwidth_reduction)
    served = tuple(w or s[0] for w, s in zip(live.serving, SHAPES, strict=True))
    assert all(s >= n for s, n in zip(served, narrowest, strict=True))
    budget = outcome.baseline.size_bytes / bandwidth_reduction
    assert ended.reached == (outcome.best.size_bytes <= budget + 1e-9)
    if not ended.reached:
        # Nothing was left undone: every cut stands at the narrowest width its floor allows.
        assert served == narrowest
