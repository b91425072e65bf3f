"""Choosers of the rungs to serve under: automatic control, an oracle, fixed rungs; no effects.

Automatic control's estimates are passive. A connection's rate is what the receiver saw of frames
long enough to tell; where they are too short, the sending kernel's delivery rate (``TCP_INFO``)
starts an estimate that then recovers slowly as long as frames come in time. A frame that is late,
on its way still or arrived, says how fast the slowest connection can be at most. The part of the
latency that the rates do not explain is delay and computing, whatever the rungs.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from controller.control.policy import Estimate, Option, PolicySettings, PolicyState, decide
from controller.control.rate_estimate import RateEstimate
from controller.fringe.targets import AutomaticControl
from controller.live.known_rates import KnownRates
from stage_node.records.line.transfer_time import serialisation_ms, transfer_mbit

LATE_MS = 20.0
"""What a frame may take beyond the forecast before its lateness is blamed on the network: computing
and scheduling vary by less."""
LATE_SHARE = 0.85
"""Of the bound: a frame that takes less is not late, whatever was foreseen."""
NO_TIME_MS = 2.0
"""A transfer that takes no longer is fast enough for anything."""
OTHER_FRAMES = 25
USUALLY, CAUTIOUSLY = 0.5, 0.8
"""The share of frames that are to need no longer than a learned time."""


@dataclass(frozen=True)
class Pick:
    """Decision of a chooser: the place of a choice, the latency it foresees and why."""

    place: int
    estimate: Estimate
    reason: str


@dataclass(frozen=True)
class Seen:
    """Measurements since the last decision.

    ``frames`` are (place of the choice, latency in ms) of what came back, ``waiting`` of the
    oldest frame in flight so far. ``rates_mbit`` were measured by receivers (``None``: too short
    to tell), ``delivery_mbit`` asked of the senders' kernels where it was wanted.
    """

    t_ms: float
    frames: tuple[tuple[int, float], ...]
    waiting: tuple[int, float] | None
    rates_mbit: tuple[float | None, ...]
    delivery_mbit: Callable[[int], float]


class Chooser(Protocol):
    """Decides under which choice to serve."""

    def first(self) -> int:
        """Choose the rungs to begin with."""

    def choose(self, seen: Seen) -> Pick | None:
        """Choose the next rungs; None to stay."""


class Fixed:
    """A chooser that keeps its rungs."""

    def __init__(self, place: int) -> None:
        self._place = place

    def first(self) -> int:
        """The only ones."""
        return self._place

    def choose(self, seen: Seen) -> None:
        """Return None: there is nothing to choose."""


class OtherTime:
    """Size-independent part of a frame's latency, ms: a quantile of the latest frames, so
    that it does not matter how late the latest of them were."""

    def __init__(self, quantile: float) -> None:
        self._quantile = quantile
        self._rests_ms: deque[float] = deque(maxlen=OTHER_FRAMES)

    def learn(self, latency_ms: float, transfer_ms: float) -> None:
        """One frame's latency and the part that its transfers explain."""
        self._rests_ms.append(max(0.0, latency_ms - transfer_ms))

    @property
    def ms(self) -> float | None:
        """``None`` before the first frame."""
        ordered = sorted(self._rests_ms)
        return ordered[int(self._quantile * len(ordered))] if ordered else None


class Oracle:
    """Knows every rate before it comes: always the most accurate rungs that meet the bound.

    Delays and computing it has to learn as everyone, and counts on the longer ones.
    """

    def __init__(
        self, options: Sequence[Option], truth: Sequence[KnownRates], settings: AutomaticControl
    ) -> None:
        self._options = options
        self._truth = truth
        self._settings = settings
        self._other = OtherTime(CAUTIOUSLY)
        self._t_ms = 0.0

    def first(self) -> int:
        """The fewest bytes, until the first frame shows what does not depend on their number."""
        return len(self._options) - 1

    def choose(self, seen: Seen) -> Pick | None:
        """The most accurate choice whose frame, admitted now or just before the next decision,
        comes in time."""
        for place, latency_ms in seen.frames:
            sent_ms = max(0.0, seen.t_ms - latency_ms)
            self._other.learn(latency_ms, self._transfer_ms(self._options[place], sent_ms))
        if self._other.ms is None:
            return None
        last = len(self._options) - 1
        later_ms = seen.t_ms + self._settings.interval_s * 1e3
        place = next(
            (
                place
                for place, option in enumerate(self._options)
                if max(self._transfer_ms(option, t) for t in (seen.t_ms, later_ms))
                <= self._settings.bound_ms - self._other.ms
            ),
            last,
        )
        rates = tuple(known.at(seen.t_ms) for known in self._truth)
        return Pick(place, Estimate(rates, self._other.ms), "known beforehand")

    def _transfer_ms(self, option: Option, t_ms: float) -> float:
        now_ms = t_ms
        for size, known in zip(option.frame_bytes, self._truth, strict=True):
            now_ms += known.transfer_ms(size, now_ms)
        return now_ms - t_ms


class Automatic:
    """The policy, on estimates of what it has seen of the network."""

    def __init__(
        self, options: Sequence[Option], settings: AutomaticControl, window: int, cuts: int
    ) -> None:
        self._options = options
        self._policy = PolicySettings(bound_ms=settings.bound_ms)
        self._frame_ms = settings.frame_ms
        self._window = window
        self._state = PolicyState(chosen=len(options) - 1)
        self._rates = [RateEstimate()] * cuts
        self._other = OtherTime(USUALLY)

    def first(self) -> int:
        """The fewest bytes: nothing is known of the network yet."""
        return self._state.chosen

    def choose(self, seen: Seen) -> Pick | None:
        """One decision of the policy; ``None`` before anything has come back."""
        late = self._late(seen)
        self._rates = [
            self._updated(cut, rate, seen, late is None) for cut, rate in enumerate(self._rates)
        ]
        for place, latency_ms in seen.frames:
            self._other.learn(latency_ms, self._estimate().transfer_ms(self._options[place]))
        if self._other.ms is None:
            return None
        if late is not None:
            self._blame(*late)
        decision = decide(self._options, self._state, self._cautious(), self._policy)
        self._state = decision.state
        return Pick(self._state.chosen, self._cautious(), decision.reason)

    def _late(self, seen: Seen) -> tuple[int, float] | None:
        """The latest of all frames, where it took longer than the estimates explain and comes near
        the bound."""
        if self._other.ms is None:
            return None
        frames = [*seen.frames[-1:], *([seen.waiting] if seen.waiting else [])]
        estimate = self._estimate()
        late = [
            (place, latency_ms)
            for place, latency_ms in frames
            if latency_ms > estimate.latency_ms(self._options[place]) + LATE_MS
            and latency_ms > self._policy.bound_ms * LATE_SHARE
        ]
        return max(late, key=lambda each: each[1], default=None)

    def _blame(self, place: int, latency_ms: float) -> None:
        """The slowest connection cannot be faster than such a latency allows."""
        estimate, sizes = self._estimate(), self._options[place].frame_bytes
        shares_ms = [
            serialisation_ms(size, max(rate, 1e-3))
            for size, rate in zip(sizes, estimate.rate_mbit, strict=True)
        ]
        slowest = max(range(len(shares_ms)), key=shares_ms.__getitem__)
        others_ms = sum(shares_ms) - shares_ms[slowest]
        took_ms = max(latency_ms - estimate.other_ms - others_ms, LATE_MS)
        at_most_mbit = transfer_mbit(sizes[slowest], took_ms)
        if at_most_mbit < estimate.rate_mbit[slowest]:
            self._rates[slowest] = self._rates[slowest].after(at_most_mbit)

    def _updated(self, cut: int, rate: RateEstimate, seen: Seen, in_time: bool) -> RateEstimate:
        measured = seen.rates_mbit[cut]
        if measured is not None:
            return rate.after(measured) if seen.frames else rate
        if rate.rate_mbit is None:
            return rate.after(seen.delivery_mbit(cut))
        if not in_time or not seen.frames:
            return rate
        place, latency_ms = seen.frames[-1]
        at_most_ms = max(0.0, latency_ms - (self._other.ms or latency_ms)) + LATE_MS
        return rate.unmeasured(
            at_least_mbit=transfer_mbit(self._options[place].frame_bytes[cut], at_most_ms),
            enough_mbit=transfer_mbit(self._options[0].frame_bytes[cut], NO_TIME_MS),
        )

    def _estimate(self) -> Estimate:
        return self._of(tuple(rate.rate_mbit or 0.0 for rate in self._rates))

    def _cautious(self) -> Estimate:
        return self._of(tuple(rate.cautious_mbit for rate in self._rates))

    def _of(self, rates_mbit: tuple[float, ...]) -> Estimate:
        return Estimate(rates_mbit, self._other.ms or 0.0, self._window, self._frame_ms)
