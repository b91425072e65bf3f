"""The loop of FIG. 5, told on simulated pipelines: accuracy, bytes and time as curves."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import BadTargetsError
from controller.fringe.targets import FringeTargets
from controller.ladder.ladder import Ladder, LadderRung
from controller.live.pipeline import CutObservation, Observation, Rungs, SplitName
from controller.loop.optimizer import Outcome, optimize
from stage_node.records.events import Event, Iteration, LoopEnded
from stage_node.wire.rung import Rung

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
    foretold: Callable[[tuple[int, ...]], float] | None = None
    exact: bool = False
    generations: dict[int, Rungs] = field(default_factory=dict)
    splits: list[SplitName] = field(default_factory=list)

    @property
    def ladders(self) -> tuple[Ladder, ...]:
        """Every width of every cut, with the loss of that cut alone."""
        return tuple(self._ladder(cut) for cut in range(len(self.shapes)))

    def _ladder(self, cut: int) -> Ladder:
        channels, *pixels = self.shapes[cut]
        full = [shape[0] for shape in self.shapes]
        rungs = []
        for width in range(channels, 0, -1):
            alone = (*full[:cut], width, *full[cut + 1 :])
            rungs.append(
                LadderRung(
                    rung=Rung.of(channels, width=width if width < channels else None),
                    payload_bytes=4 * width * pixels[0] * pixels[1],
                    accuracy=self.accuracy - (self.foretold or self.loss)(alone),
                )
            )
        shape = self.shapes[cut]
        return Ladder(after=f"cut{cut}", shape=shape, considered=channels, rungs=tuple(rungs))

    @property
    def serving(self) -> tuple[int, ...]:
        return self.channels(self.generations[self.active])

    def channels(self, rungs: Rungs) -> tuple[int, ...]:
        return tuple(r.width or s[0] for r, s in zip(rungs, self.shapes, strict=True))

    def observe(self, rungs: Rungs, split: SplitName) -> Observation:
        self.active = len(self.generations)
        self.generations[self.active] = rungs
        self.splits.append(split)
        channels = self.channels(rungs)
        connections = []
        for sent, shape, rate_mbit in zip(channels, self.shapes, self.rates_mbit, strict=True):
            size_bytes = HEADER_BYTES + sent * shape[1] * shape[2] * 4
            connections.append(CutObservation(size_bytes, size_bytes * 8 / rate_mbit / 1e3))
        samples = 10**7 if self.exact else IMAGES[split]
        return Observation(
            generation=self.active,
            rungs=rungs,
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

    def __call__(self, event: Event) -> None:
        self.events.append(event)


def pipeline(
    loss: Callable[[tuple[int, ...]], float] = lambda _: 0.0,
    rates_mbit: tuple[float, ...] = (10.0, 10.0),
    accuracy: float = 0.98,
    foretold: Callable[[tuple[int, ...]], float] | None = None,
) -> SimulatedPipeline:
    return SimulatedPipeline(SHAPES, rates_mbit, loss, accuracy, foretold=foretold)


def run(live: SimulatedPipeline, **targets: float) -> tuple[Outcome, list[Iteration], LoopEnded]:
    record = Recorder()
    floor = {} if "min_accuracy" in targets else {"max_accuracy_loss_points": 1.0}
    asked = FringeTargets(**floor, **targets)  # type: ignore[arg-type]
    outcome = optimize(live, live.ladders, asked, record, batch=1)
    *iterations, ended = record.events
    assert all(isinstance(event, Iteration) for event in iterations)
    assert isinstance(ended, LoopEnded)
    return outcome, iterations, ended  # type: ignore[return-value]


def cliff(narrowest: tuple[int, ...]) -> Callable[[tuple[int, ...]], float]:
    """No loss down to these widths, 10 points below any of them."""
    return lambda channels: 0.1 * any(c < n for c, n in zip(channels, narrowest, strict=True))


def hidden(_: tuple[int, ...]) -> float:
    """A ladder that foretells no loss at all."""
    return 0.0


def width_of(iteration: Iteration, cut: int) -> int:
    """Channels that a rung's name tells."""
    name = iteration.rungs[cut]
    return SHAPES[cut][0] if name == "uncompressed" else int(name.split()[0])


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
    assert live.serving == live.channels(outcome.best.rungs)
    assert ended.rungs == outcome.best.names


def test_the_step_that_saves_most_goes_first_and_that_is_time_not_bytes() -> None:
    _, by_bytes, _ = run(pipeline(rates_mbit=(10, 10)), bandwidth_reduction=2.0)
    _, by_time, _ = run(pipeline(rates_mbit=(100, 10)), bandwidth_reduction=2.0)
    assert by_bytes[1].cut == 0  # 4 KiB against 2 KiB at the same rate
    assert by_time[1].cut == 1  # 2 KiB take five times as long


def test_a_connection_that_costs_less_but_loses_nothing_goes_before_one_that_loses() -> None:
    # Cut 0 takes more time, but each channel less costs it accuracy; cut 1 loses none.
    live = pipeline(lambda channels: (16 - channels[0]) / 400, rates_mbit=(5, 10))
    _, iterations, _ = run(live, bandwidth_reduction=2.0)
    assert iterations[1].cut == 1
    assert iterations[1].accuracy == iterations[0].accuracy


def test_what_the_ladder_foretells_to_break_the_floor_is_not_tried_before_what_it_does_not() -> (
    None
):
    live = pipeline(cliff((6, 1)), rates_mbit=(1, 1000))
    _, iterations, _ = run(live, bandwidth_reduction=2.5)
    assert [i.outcome for i in iterations if i.outcome == "rolled back"] == []
    assert all(width_of(i, 0) >= 6 for i in iterations)


def test_a_step_that_breaks_the_floor_is_rolled_back_and_smaller_ones_are_tried() -> None:
    live = pipeline(cliff((6, 1)), rates_mbit=(1, 1000), foretold=hidden)
    _, iterations, ended = run(live, max_bytes_per_inference=1.0)
    first_cut = [(width_of(i, 0), i.outcome) for i in iterations if i.cut == 0]
    assert first_cut == [(8, "kept"), (4, "rolled back"), (6, "kept"), (5, "rolled back")]
    # After a roll-back the next step starts from the last good one, not from the broken one.
    assert all(width_of(i, 0) >= 6 for i in iterations if i.cut == 1)
    assert live.serving == (6, 1)
    assert not ended.reached


def test_a_roll_back_is_on_the_live_pipeline_at_once() -> None:
    live = pipeline(cliff((8, 32)), foretold=hidden)
    serving_at_event = []

    class Watching(Recorder):
        def __call__(self, event_type: type, /, **values: object) -> None:
            super().__call__(event_type, **values)
            serving_at_event.append(live.serving)

    record = Watching()
    targets = FringeTargets(max_accuracy_loss_points=1.0, max_bytes_per_inference=1.0)
    optimize(live, live.ladders, targets, record, batch=1)
    rolled_back = 0
    for event, serving in zip(record.events, serving_at_event, strict=True):
        if isinstance(event, Iteration) and event.outcome == "rolled back":
            rolled_back += 1
            assert live.loss(serving) == 0
    assert rolled_back


def test_when_one_connection_cannot_go_on_the_other_still_does() -> None:
    live = pipeline(cliff((16, 4)), rates_mbit=(1, 1000))
    outcome, _, ended = run(live, bandwidth_reduction=100.0)
    assert live.channels(outcome.best.rungs) == (16, 4)
    assert "not reached, closest was" in ended.reason
    assert "cut 0 at uncompressed, for 15 of 16 channels breaks the floor" in ended.reason
    assert "cut 1 at 4 of 32 channels, for 3 of 32 channels breaks the floor" in ended.reason


def test_what_is_said_to_break_the_floor_has_been_measured() -> None:
    live = pipeline(cliff((16, 4)))
    _, iterations, _ = run(live, bandwidth_reduction=100.0)
    broke = {tuple(width_of(i, c) for c in (0, 1)) for i in iterations if "floor" in i.reason}
    assert {(15, 4), (16, 3)} <= broke


def test_a_floor_that_every_step_breaks_leaves_the_pipeline_as_it_was() -> None:
    live = pipeline(cliff((16, 32)))
    outcome, iterations, ended = run(live, bandwidth_reduction=1.5)
    assert {i.outcome for i in iterations[1:]} == {"rolled back"}
    assert not outcome.reached
    assert outcome.best is outcome.baseline
    assert live.serving == (16, 32)
    assert ended.rungs == ("uncompressed", "uncompressed")


def test_accuracy_spent_at_one_cut_is_given_back_where_another_uses_it_better() -> None:
    """The weakness of the greedy loop: cut 0 takes the whole budget first, for it costs most."""

    def loss(channels: tuple[int, ...]) -> float:
        # Cut 0 loses 0.2 points for each channel below 12, cut 1 loses 0.9 points from 3 on.
        return 0.002 * max(0, 12 - channels[0]) + 0.009 * (channels[1] < 30)

    live = pipeline(loss, rates_mbit=(10, 10), foretold=lambda c: 0.5 * loss(c))
    # Within one point: cut 0 to 7 alone, 3840 B in all; or cut 1 to one channel, cut 0 to 12.
    outcome, iterations, _ = run(live, max_bytes_per_inference=12 * 256 + 10 * 64 + 16)
    assert outcome.reached, [(i.rungs, i.outcome, i.reason) for i in iterations]
    assert outcome.best.accuracy >= outcome.baseline.accuracy - 0.01 - 1e-9


def test_a_target_below_the_strongest_rungs_is_reported_as_missed_not_as_met() -> None:
    outcome, _, ended = run(pipeline(), max_bytes_per_inference=1.0)
    assert not outcome.reached and not ended.reached
    assert ended.reason.startswith("not reached, closest was 336.0 bytes per inference")
    assert "cut 0 at its strongest (1 of 16 channels)" in ended.reason


def test_a_floor_that_the_uncompressed_model_misses_is_an_error_before_compressing() -> None:
    live = pipeline(accuracy=0.90)
    with pytest.raises(BadTargetsError, match=r"min_accuracy: .* only 0\.9000 of the 0\.9500"):
        run(live, min_accuracy=0.95, bandwidth_reduction=2.0)
    assert len(live.generations) == 1 and live.serving == (16, 32)


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
    outcome, _, _ = run(pipeline(rates_mbit=(1, 1)), bandwidth_reduction=2.0, max_latency_ms=9.0)
    assert outcome.reached
    assert outcome.best.latency_ms_median <= 9.0
    assert outcome.best.size_bytes <= outcome.baseline.size_bytes / 2


def test_the_floor_in_points_counts_from_the_uncompressed_model() -> None:
    # 294 of 300 right before; one point is 3 images: 291 may be kept, 290 may not.
    images_lost = {8: 3, 7: 4}
    live = pipeline(lambda channels: images_lost.get(channels[0], 0) / 300, foretold=hidden)
    _, iterations, _ = run(live, max_bytes_per_inference=4096 / 2 + 2048 + 16)
    assert (width_of(iterations[1], 0), iterations[1].outcome) == (8, "target met")


def test_no_decision_is_taken_on_the_test_split() -> None:
    live = pipeline()
    run(live, bandwidth_reduction=4.0)
    assert set(live.splits) == {"validation"}


@given(
    narrowest=st.tuples(st.integers(1, 16), st.integers(1, 32)),
    rates_mbit=st.tuples(st.floats(0.1, 1000), st.floats(0.1, 1000)),
    bandwidth_reduction=st.floats(1, 40),
    honest=st.booleans(),
)
def test_whatever_the_curves_the_floor_holds_and_the_verdict_is_true(
    narrowest: tuple[int, int],
    rates_mbit: tuple[float, float],
    bandwidth_reduction: float,
    honest: bool,
) -> None:
    live = pipeline(cliff(narrowest), rates_mbit, foretold=None if honest else hidden)
    outcome, iterations, ended = run(live, bandwidth_reduction=bandwidth_reduction)
    assert all(s >= n for s, n in zip(live.serving, narrowest, strict=True))
    budget = outcome.baseline.size_bytes / bandwidth_reduction
    assert ended.reached == (outcome.best.size_bytes <= budget + 1e-9)
    assert len({i.rungs for i in iterations}) == len(iterations), "nothing is measured twice"
    if not ended.reached and honest:
        # Nothing was left undone: every cut stands at the narrowest width its floor allows.
        assert live.serving == narrowest


@given(
    seed=st.integers(0, 10_000),
    bandwidth_reduction=st.floats(1.2, 30),
    points=st.floats(0.1, 3),
)
def test_with_losses_that_add_up_a_target_that_can_be_met_is_met(
    seed: int, bandwidth_reduction: float, points: float
) -> None:
    """The oracle looks at every combination of widths."""
    choose = random.Random(seed)
    curves = []
    for channels, *_ in SHAPES:
        drops = [choose.choice([0.0, 0.0, 0.003, 0.01]) for _ in range(channels)]
        curves.append([sum(drops[width:]) for width in range(channels + 1)])

    def loss(channels: tuple[int, ...]) -> float:
        return sum(curve[c] for curve, c in zip(curves, channels, strict=True))

    live = pipeline(loss)
    live.exact = True
    record = Recorder()
    targets = FringeTargets(
        max_accuracy_loss_points=points, bandwidth_reduction=bandwidth_reduction
    )
    outcome = optimize(live, live.ladders, targets, record, batch=1)
    budget = outcome.baseline.size_bytes / bandwidth_reduction
    possible = any(
        256 * a + 64 * b + 16 <= budget and loss((a, b)) <= points / 100
        for a in range(1, 17)
        for b in range(1, 33)
    )
    assert outcome.reached == possible
