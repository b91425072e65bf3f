"""Chooses the rungs to try next, from measurements and the ladders' predictions.

A choice is one rung per cut. Losses of accuracy at several cuts are taken to add up, which is only
a forecast; so a choice that breaks the floor in a measurement rules out, for good, every choice
that is at least as strong at every cut.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from controller.ladder.ladder import Ladder
from stage_node.fringe.reductions import bandwidth_reduction, latency_reduction

DOUBT = 0.01
"""How far a forecast sum of losses may go beyond the floor and still be worth a measurement: two
cuts' errors rarely hit different images. A share; 0.01 is one point."""

MOST_COMBINATIONS = 20_000
"""Limit of the combinations that a trade between cuts looks at; more cuts have coarser ladders."""

MOST_VAIN_TRADES = 8
"""Number of trades that broke the floor after which the forecasts are not worth following."""


@dataclass(frozen=True)
class Forecast:
    """Distance to the targets, and time per byte on each connection.

    ``accuracy_to_lose`` is the distance from the uncompressed model to the floor; ``one_image``
    the smallest loss that can be measured. Both are shares.
    """

    excess_bytes: float
    excess_ms: float
    ms_per_byte: tuple[float, ...]
    accuracy_to_lose: float
    one_image: float


@dataclass(frozen=True)
class Candidate:
    """One rung index per cut; ``cut`` is the one that moves, ``None`` where several do."""

    rungs: tuple[int, ...]
    cut: int | None


@dataclass
class Descent:
    """State of the descent: each cut's place on its ladder (``good``), and choices that failed."""

    ladders: tuple[Ladder, ...]
    ratio: float
    good: tuple[int, ...] = ()
    broken: list[tuple[int, ...]] = field(default_factory=list)
    tried: set[tuple[int, ...]] = field(default_factory=set)
    _vain_trades: int = 0

    def __post_init__(self) -> None:
        self.good = (0,) * len(self.ladders)
        self.tried.add(self.good)

    def kept(self, choice: Candidate) -> None:
        """The floor allows it."""
        self.good = choice.rungs
        self.tried.add(choice.rungs)

    def rolled_back(self, choice: Candidate) -> None:
        """It broke the floor."""
        self.broken.append(choice.rungs)
        self._vain_trades += choice.cut is None
        self.tried.add(choice.rungs)

    def next_choice(self, forecast: Forecast) -> Candidate | None:
        """One step at the connection where it helps most, or a trade between connections.

        ``None`` when neither is left.
        """
        steps = list(self._steps(forecast))
        hopeful = [s for s in steps if self._loss(s.rungs) <= forecast.accuracy_to_lose + DOUBT]
        if hopeful:
            return max(hopeful, key=lambda choice: self._worth(choice.rungs, forecast))
        return self._trade(forecast) or min(
            self._probes(), key=lambda choice: self._loss(choice.rungs), default=None
        )

    def _steps(self, forecast: Forecast) -> Iterator[Candidate]:
        """One cut moves down: coarse steps until a stronger rung is known to break the floor,
        then half of the way; never further than what is missing calls for."""
        for cut, ladder in enumerate(self.ladders):
            good, broken = self.good[cut], self._broken_from(cut)
            rung = ladder.step_down(good, broken, self.ratio)
            if rung is None:
                continue
            needed_bytes = self._needed_bytes(cut, forecast)
            enough = ladder.weakest_within(ladder.rungs[good].payload_bytes - needed_bytes)
            if enough is not None and enough > good:
                rung = min(rung, enough)
            choice = Candidate(self._moved(cut, self._within_budget(cut, rung, forecast)), cut)
            if choice.rungs not in self.tried:
                yield choice

    def _probes(self) -> Iterator[Candidate]:
        """The very next rung of every cut, however bad its forecast: what the loop says it cannot
        do has been measured."""
        for cut, ladder in enumerate(self.ladders):
            if self.good[cut] < ladder.strongest:
                rungs = self._moved(cut, self.good[cut] + 1)
                if rungs not in self.tried and not self._known_broken(rungs):
                    yield Candidate(rungs, cut)

    def _within_budget(self, cut: int, rung: int, forecast: Forecast) -> int:
        """The strongest rung up to ``rung`` that is foretold to hold the floor, or nearly."""
        for doubt in (0.0, DOUBT):
            for weaker in range(rung, self.good[cut], -1):
                loss = self._loss(self._moved(cut, weaker))
                if loss <= forecast.accuracy_to_lose + doubt:
                    return weaker
        return rung

    def _needed_bytes(self, cut: int, forecast: Forecast) -> float:
        rate = forecast.ms_per_byte[cut]
        for_latency = forecast.excess_ms / rate if rate and forecast.excess_ms else 0.0
        return max(forecast.excess_bytes, for_latency)

    def _broken_from(self, cut: int) -> int | None:
        """The weakest rung of ``cut`` that, with the others as they are, is known to break."""
        ladder, good = self.ladders[cut], self.good[cut]
        rungs = range(good + 1, len(ladder.rungs))
        return next((r for r in rungs if self._known_broken(self._moved(cut, r))), None)

    def _known_broken(self, rungs: Sequence[int]) -> bool:
        return any(
            all(rung >= limit for rung, limit in zip(rungs, broken, strict=True))
            for broken in self.broken
        )

    def _moved(self, cut: int, rung: int) -> tuple[int, ...]:
        return (*self.good[:cut], rung, *self.good[cut + 1 :])

    def _loss(self, rungs: Sequence[int]) -> float:
        return sum(ladder.loss(r) for ladder, r in zip(self.ladders, rungs, strict=True))

    def _saved(self, rungs: Sequence[int], forecast: Forecast) -> tuple[float, float]:
        """Forecast bandwidth and latency reduction from the kept choice, bytes and ms per
        inference (Eq. 1 and Eq. 2)."""
        kept_bytes, new_bytes = self._sizes(self.good), self._sizes(rungs)
        rates = forecast.ms_per_byte
        return bandwidth_reduction(kept_bytes, new_bytes), latency_reduction(
            [size * ms for size, ms in zip(kept_bytes, rates, strict=True)],
            [size * ms for size, ms in zip(new_bytes, rates, strict=True)],
        )

    def _sizes(self, rungs: Sequence[int]) -> list[float]:
        """Payload of each cut under a choice, bytes per inference."""
        return [
            ladder.rungs[r].payload_bytes for ladder, r in zip(self.ladders, rungs, strict=True)
        ]

    def _closed(self, rungs: Sequence[int], forecast: Forecast) -> float:
        """Share of the missing savings that a choice brings, 1 if it reaches one target."""
        size_bytes, ms = self._saved(rungs, forecast)
        closed = 0.0
        if forecast.excess_bytes:
            closed += min(1.0, size_bytes / forecast.excess_bytes)
        if forecast.excess_ms:
            closed += min(1.0, ms / forecast.excess_ms)
        return closed

    def _worth(self, rungs: Sequence[int], forecast: Forecast) -> tuple[float, float]:
        """Savings of a step per accuracy that it is foretold to take; time decides between
        equals (claim 3: "based on performance of the computer network")."""
        lost = max(self._loss(rungs) - self._loss(self.good), 0.0)
        size_bytes, ms = self._saved(rungs, forecast)
        gain = ms if any(forecast.ms_per_byte) else size_bytes
        return gain / (lost + forecast.one_image / 2), size_bytes

    def _trade(self, forecast: Forecast) -> Candidate | None:
        """Several cuts move at once: of all that is not ruled out, what is foretold to meet the
        target with the least loss, else what comes closest to it within the floor."""
        if self._vain_trades >= MOST_VAIN_TRADES:
            return None
        wanted = bool(forecast.excess_bytes) + bool(forecast.excess_ms)
        met: list[tuple[float, tuple[int, ...]]] = []
        closer: list[tuple[float, tuple[int, ...]]] = []
        for rungs in self._combinations():
            closed = self._closed(rungs, forecast)
            if rungs in self.tried or closed <= 0 or self._known_broken(rungs):
                continue
            loss = self._loss(rungs)
            if closed >= wanted and loss <= forecast.accuracy_to_lose + DOUBT:
                met.append((loss, rungs))
            elif loss <= forecast.accuracy_to_lose:
                closer.append((-closed, rungs))
        if met or closer:
            return Candidate(min(met or closer)[1], None)
        return None

    def _combinations(self) -> Iterator[tuple[int, ...]]:
        share = MOST_COMBINATIONS / math.prod(len(ladder.rungs) for ladder in self.ladders)
        stride = max(1, math.ceil((1 / share) ** (1 / len(self.ladders))))
        steps = (
            sorted({*range(0, len(ladder.rungs), stride), good})
            for ladder, good in zip(self.ladders, self.good, strict=True)
        )
        return itertools.product(*steps)
