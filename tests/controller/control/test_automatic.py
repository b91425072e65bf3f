"""Control of a pipeline whose link is simulated frame by frame: two cuts, a rate that changes."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from controller.control.automatic import LEAD_S, control
from controller.control.choices import choices_of
from controller.errors import BadTargetsError
from controller.fringe.targets import AutomaticControl, FringeTargets
from controller.ladder.ladder import Ladder, LadderRung
from controller.live.known_rates import KnownRates
from controller.live.pipeline import Rungs
from stage_node.fringe.messages import RecentReply
from stage_node.records.events import ControlBegins, Event, RungChosen
from stage_node.wire.rung import Rung

BATCH, OTHER_MS, BOUND_MS, STEP_S, FRAMES_PER_S = 20, 80.0, 200.0, 0.02, 5.0
FIRST = ((None, 4096, 0.987), (16, 352, 0.987), (12, 256, 0.983), (6, 96, 0.967), (4, 64, 0.88))
SECOND = ((None, 2048, 0.987), (8, 32, 0.987), (4, 16, 0.95))


def ladder(channels: int, rungs: Sequence[tuple[int | None, int, float]]) -> Ladder:
    return Ladder(
        after="stem",
        shape=(channels, 8, 8),
        considered=5,
        rungs=tuple(
            LadderRung(rung=Rung.of(channels, width=width), payload_bytes=size, accuracy=accuracy)
            for width, size, accuracy in rungs
        ),
    )


LADDERS = (ladder(16, FIRST), ladder(16, SECOND))
TARGETS = FringeTargets(min_accuracy=0.9)
CHOICES = choices_of(LADDERS, BATCH, TARGETS)


def wandering(seed: int, seconds: float = 60.0, peak_mbit: float = 3.0) -> KnownRates:
    """Brownian between the peak and a twentieth of it, in steps of 100 ms; not our generator."""
    draw, share = random.Random(seed), 0.5
    times_ms, mbit = [], []
    for index in range(round(10 * seconds)):
        times_ms.append(100.0 * index)
        mbit.append(peak_mbit * share)
        share = min(1.0, max(0.05, share + draw.gauss(0, 0.063)))
    return KnownRates(times_ms=tuple(times_ms), mbit=tuple(mbit))


STATIC = KnownRates(times_ms=(0.0,), mbit=(5.0,))


@dataclass
class SimulatedPipeline:
    """The pipeline, its three stages and the time. Each mode has the rates from the beginning."""

    truth: tuple[KnownRates, KnownRates]
    now_s: float = 0.0
    begin_s: float = 0.0
    due_s: float = 0.0
    generations: list[Rungs] = field(default_factory=list)
    active: int = 0
    free_ms: list[float] = field(default_factory=lambda: [0.0, 0.0])
    flying: list[tuple[float, int, float]] = field(default_factory=list)  # admitted, gen., done
    fresh: list[tuple[int, float]] = field(default_factory=list)
    measured: list[float | None] = field(default_factory=lambda: [None, None])
    served: list[tuple[str, float, float]] = field(default_factory=list)  # mode, latency, accuracy
    events: list[Event] = field(default_factory=list)
    mode: str = ""

    def prepare(self, rungs: Rungs) -> int:
        self.generations.append(rungs)
        return len(self.generations) - 1

    def activate(self, generation: int, split: str, frame_ms: float, go_on: bool) -> None:
        assert (split, frame_ms, go_on) == ("validation", 1e3 / FRAMES_PER_S, True)
        self.active = generation

    def emit(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, ControlBegins):
            self.mode, self.begin_s = event.mode, event.begin_ns / 1e9
            self.free_ms = [0.0, 0.0]

    def sleep(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while self.now_s < until_s - 1e-9:
            self.now_s = min(self.now_s + STEP_S, until_s)
            done = [frame for frame in self.flying if frame[2] <= self.now_s * 1e3]
            for admitted_ms, generation, done_ms in done:
                self.fresh.append((generation, done_ms - admitted_ms))
            self.flying = [frame for frame in self.flying if frame not in done]
            if self.now_s >= self.due_s and len(self.flying) < 4:
                self._admit()
                self.due_s = max(self.due_s + 1 / FRAMES_PER_S, self.now_s)

    def _admit(self) -> None:
        sizes = self._sizes()
        t_ms = (self.now_s - self.begin_s) * 1e3
        at_ms = t_ms
        for cut, (size, known) in enumerate(zip(sizes, self.truth, strict=True)):
            begin_ms = max(at_ms, self.free_ms[cut])
            took_ms = known.transfer_ms(size, max(begin_ms, 0.0))
            self.free_ms[cut] = at_ms = begin_ms + took_ms
            self.measured[cut] = size * 8e-3 / took_ms if size > 4096 else None
        latency_ms = at_ms - t_ms + OTHER_MS
        now_ms = self.now_s * 1e3
        self.flying.append((now_ms, self.active, now_ms + latency_ms))
        self.served.append((self.mode, latency_ms, self._accuracy()))

    def _sizes(self) -> tuple[float, ...]:
        return next(
            (c.option.frame_bytes for c in CHOICES if c.rungs == self.generations[self.active]),
            (BATCH * 4096.0, BATCH * 2048.0),
        )

    def _accuracy(self) -> float:
        rungs = self.generations[self.active]
        return next((c.option.accuracy for c in CHOICES if c.rungs == rungs), 0.987)

    def recent(self) -> RecentReply:
        frames, self.fresh = tuple(self.fresh), []
        oldest = min(self.flying, default=None)
        waiting = (oldest[1], self.now_s * 1e3 - oldest[0]) if oldest else None
        return RecentReply(frames=frames, waiting=waiting)

    def client(self, cut: int) -> SimpleNamespace:
        """Stage ``cut``: it sends over that cut and receives over the one before."""
        return SimpleNamespace(
            recent=self.recent,
            arrivals=lambda: SimpleNamespace(recent_rate_mbit=self.measured[cut - 1]),
            traffic=lambda: SimpleNamespace(delivery_rate_mbit=0.05),
        )

    def run(self, *modes: int | str, seconds: float = 60.0) -> dict[str, tuple[float, float]]:
        """Share within the bound and mean accuracy by mode."""
        settings = AutomaticControl(
            bound_ms=BOUND_MS,
            duration_s=seconds,
            modes=modes,
            frames_per_s=FRAMES_PER_S,
        )
        control(
            self,  # type: ignore[arg-type]
            [self.client(stage) for stage in range(3)],  # type: ignore[misc]
            *(LADDERS, BATCH, 4, settings, TARGETS, self.truth, self.emit),
            clock=lambda: self.now_s,
            sleep=self.sleep,
        )
        came = {}
        for mode in dict.fromkeys(mode for mode, _, _ in self.served if mode):
            mine = [(ms, accuracy) for name, ms, accuracy in self.served if name == mode]
            within = sum(ms <= BOUND_MS for ms, _ in mine) / len(mine)
            came[mode] = (within, sum(accuracy for _, accuracy in mine) / len(mine))
        return came

    def chosen(self) -> list[RungChosen]:
        return [event for event in self.events if isinstance(event, RungChosen)]


def test_choices_are_a_front_and_the_floor_cuts_it_off() -> None:
    accuracies = [choice.option.accuracy for choice in CHOICES]
    assert accuracies == sorted(accuracies, reverse=True) and min(accuracies) >= 0.9
    sizes = [sum(choice.option.frame_bytes) for choice in CHOICES]
    assert sizes == sorted(sizes, reverse=True)
    assert "uncompressed" not in CHOICES[0].option.name, "as accurate with fewer bytes"


def test_the_floor_is_kept_to_the_last_image_and_one_that_the_model_misses_is_refused() -> None:
    lossless = choices_of(LADDERS, BATCH, FringeTargets(max_accuracy_loss_points=0))
    assert lossless and {choice.option.accuracy for choice in lossless} == {0.987}
    exact = choices_of(LADDERS, BATCH, FringeTargets(min_accuracy=0.967))
    assert min(choice.option.accuracy for choice in exact) == pytest.approx(0.967)
    with pytest.raises(BadTargetsError, match=r"min_accuracy: .* only 0\.9870 of the 0\.9990"):
        choices_of(LADDERS, BATCH, FringeTargets(min_accuracy=0.999))


def test_it_climbs_from_the_strongest_although_short_frames_tell_no_rate() -> None:
    pipeline = SimulatedPipeline((KnownRates(times_ms=(0.0,), mbit=(50.0,)), STATIC))
    pipeline.run("automatic", seconds=20)
    accuracies = [each.accuracy for each in pipeline.chosen()]
    assert accuracies[0] == min(c.option.accuracy for c in CHOICES)
    assert accuracies == sorted(accuracies) and accuracies[-1] == 0.987


def test_on_links_that_wander_it_keeps_the_bound_and_comes_near_the_oracle() -> None:
    lost = []
    for seed in range(6):
        came = SimulatedPipeline((wandering(seed), STATIC)).run("automatic", "oracle", 0, -1)
        (within, accuracy), oracle = came["automatic"], came["oracle"]
        lost.append(oracle[1] - accuracy)
        assert within >= 0.95
        best, least = (came[CHOICES[place].option.name] for place in (0, -1))
        assert best[0] < within and least[1] < accuracy
    assert sorted(lost)[len(lost) // 2] <= 0.01


def test_a_link_that_breaks_down_is_answered_before_the_late_frame_has_arrived() -> None:
    broken = KnownRates(times_ms=(0.0, 10_000.0), mbit=(3.0, 0.2))
    pipeline = SimulatedPipeline((broken, STATIC))
    pipeline.run("automatic", seconds=20)
    down = [
        each for a, b in itertools.pairwise(pipeline.chosen()) if (each := b).accuracy < a.accuracy
    ]
    assert down
    late = [ms for _, ms, _ in pipeline.served if ms > BOUND_MS]
    assert 1 <= len(late) <= 8


def test_every_mode_is_announced_before_it_begins_and_fixed_rungs_stay() -> None:
    pipeline = SimulatedPipeline((STATIC, STATIC))
    pipeline.run(0, "uncompressed", seconds=3)
    began = [event for event in pipeline.events if isinstance(event, ControlBegins)]
    assert [each.mode for each in began] == [CHOICES[0].option.name, "uncompressed"]
    assert began[0].begin_ns == LEAD_S * 1e9
    assert began[1].begin_ns >= began[0].end_ns - 1e9
    assert len(pipeline.chosen()) == 2


@pytest.mark.parametrize("mode", [len(CHOICES), -len(CHOICES) - 1, "wide"])
def test_rungs_that_do_not_exist_are_refused_by_name_before_anything_is_served(
    mode: int | str,
) -> None:
    pipeline = SimulatedPipeline((STATIC, STATIC))
    with pytest.raises(BadTargetsError, match=r"modes: no rungs .*; there are"):
        pipeline.run("automatic", mode)
    assert not pipeline.served


@pytest.mark.parametrize(
    "modes", [("automatic", 0, CHOICES[0].option.name), ("automatic", 1, 1 - len(CHOICES))]
)
def test_the_same_rungs_by_two_names_are_refused(modes: tuple[int | str, ...]) -> None:
    pipeline = SimulatedPipeline((STATIC, STATIC))
    with pytest.raises(BadTargetsError, match=r"modes: .* and .* are the same rungs, "):
        pipeline.run(*modes)
    assert not pipeline.served


@pytest.mark.parametrize(
    "wrong",
    [
        {"bound_ms": 0},
        {"duration_s": -1},
        {"interval_s": 0},
        {"interval_s": 10},
        {"modes": ["automatic", "oracle", "automatic"]},
        {"modes": [0, 1, 0]},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AutomaticControl.model_validate({"bound_ms": 10, "duration_s": 10} | wrong)
