"""Automatic control of a pipeline whose link is simulated: one cut, a rate that changes."""

import itertools
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from controller.automatic import Choice, choices_of, control
from controller.ladder import Ladder, LadderRung
from controller.pipeline import Rungs
from controller.policy import Estimate, most_accurate_within
from controller.targets import AutomaticControl
from stage_node.events import RungChosen
from stage_node.rung import Rung

BATCH, OTHER_MS, BOUND_MS = 8, 25.0, 120.0
MEASURED = ((None, 4096, 0.98), (12, 3072, 0.98), (8, 2048, 0.975), (4, 1024, 0.96), (2, 128, 0.93))
LADDER = Ladder(
    after="stem",
    shape=(16, 8, 8),
    considered=5,
    rungs=tuple(
        LadderRung(rung=Rung.of(16, width=width), payload_bytes=size, accuracy=accuracy)
        for width, size, accuracy in MEASURED
    ),
)
CHOICES = choices_of([LADDER], BATCH)


@dataclass
class SimulatedLink:
    """The pipeline, both its stages and the time: frames take what ``rate_mbit`` makes of them."""

    trace_mbit: list[float]
    now_s: float = 0.0
    generations: list[Rungs] = field(default_factory=list)
    active: int = 0
    served: list[tuple[float, float]] = field(default_factory=list)  # latency, accuracy
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def choice(self) -> Choice:
        return next(c for c in CHOICES if c.rungs == self.generations[self.active])

    @property
    def truth(self) -> Estimate:
        return Estimate((self.trace_mbit[int(self.now_s * 2)],), OTHER_MS)

    def prepare(self, rungs: Rungs) -> int:
        self.generations.append(rungs)
        return len(self.generations) - 1

    def activate(self, generation: int, split: str) -> None:
        assert split == "validation"
        self.active = generation

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        option = self.choice.option
        self.served.append((self.truth.latency_ms(option), option.accuracy))

    def recent(self, frames: int) -> SimpleNamespace:
        return SimpleNamespace(frames=frames, latency_ms_median=self.served[-1][0])

    def arrivals(self) -> SimpleNamespace:
        long_enough = self.choice.option.frame_bytes[0] >= 4096
        return SimpleNamespace(recent_rate_mbit=self.truth.rate_mbit[0] if long_enough else None)

    def traffic(self) -> SimpleNamespace:
        """An application-limited sender: a frame per round trip at most."""
        per_round_trip = self.choice.option.frame_bytes[0] * 8e-3 / OTHER_MS
        return SimpleNamespace(delivery_rate_mbit=min(per_round_trip, self.truth.rate_mbit[0]))

    def emit(self, kind: type, **fields: Any) -> None:
        assert kind is RungChosen
        self.events.append(fields)

    def run(self) -> None:
        settings = AutomaticControl(
            bound_ms=BOUND_MS, duration_s=len(self.trace_mbit) / 2, interval_s=0.5
        )
        control(
            self,  # type: ignore[arg-type]
            [self, self],  # type: ignore[list-item]
            CHOICES,
            settings,
            window=1,
            emit=self.emit,
            clock=lambda: self.now_s,
            sleep=self.sleep,
        )


def test_choices_are_a_front_and_the_floor_cuts_it_off() -> None:
    accuracies = [choice.option.accuracy for choice in CHOICES]
    assert accuracies == sorted(accuracies, reverse=True)
    sizes = [choice.option.frame_bytes for choice in CHOICES]
    assert sizes == sorted(sizes, reverse=True)
    names = [choice.option.name for choice in CHOICES]
    assert "uncompressed" not in names, "12 channels are as accurate and smaller"
    assert [c.option.accuracy for c in choices_of([LADDER], BATCH, 0.97)] == [0.98, 0.975]
    assert len(choices_of([LADDER], BATCH, 1.0)) == 1


def test_it_climbs_from_the_strongest_although_short_frames_tell_no_rate() -> None:
    link = SimulatedLink([50.0] * 200)
    link.run()
    assert link.served[0][1] == 0.93 and link.served[-1][1] == 0.98
    assert [event["accuracy"] for event in link.events] == [0.96, 0.975, 0.98]
    assert all(event["reason"].startswith("recovered") for event in link.events)


def test_it_follows_a_link_that_fades_and_recovers_and_comes_near_the_oracle() -> None:
    trace = [20.0] * 120 + [1.2] * 120 + [4.0] * 120 + [0.8] * 120 + [20.0] * 120
    link = SimulatedLink(trace)
    link.run()
    within = sum(latency <= BOUND_MS for latency, _ in link.served) / len(link.served)
    accuracy = sum(accuracy for _, accuracy in link.served) / len(link.served)
    options = [choice.option for choice in CHOICES]
    best = [most_accurate_within(options, Estimate((rate,), OTHER_MS), BOUND_MS) for rate in trace]
    ideal = sum(options[-1 if i is None else i].accuracy for i in best) / len(best)
    assert within >= 0.95
    # At 0.8 Mbit/s the oracle's rung takes 107 of 120 ms: the headroom forbids it, for 2 points.
    assert accuracy >= ideal - 0.015
    switches = [event["generation"] for event in link.events]
    assert len(switches) < len(trace) / 10
    assert all(a != b for a, b in itertools.pairwise(switches))


@pytest.mark.parametrize("wrong", [{"bound_ms": 0}, {"duration_s": -1}, {"interval_s": 0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AutomaticControl.model_validate({"bound_ms": 10, "duration_s": 10} | wrong)
