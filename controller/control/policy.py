"""Automatic control: which rungs to serve under, from what the network lets through (claims 9, 10).

Everything here is pure. An estimate is passive: it comes from frames that were sent anyway. The
policy takes the most accurate rungs that are foretold to meet the latency bound. It steps down as
soon as the bound would break, and up only after the better rungs have looked affordable, with a
margin, for some time: a link that recovers is trusted step by step, and an attempt that failed
makes the policy wait longer before the next.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stage_node.records.line.transfer_time import serialisation_ms

MOST_GROWTH = 2.0


@dataclass(frozen=True)
class Option:
    """One choice of rungs for all cuts: the ``bytes`` of a frame on each connection, and the
    accuracy (a share) it was measured or foretold to have."""

    name: str
    frame_bytes: tuple[float, ...]
    accuracy: float


@dataclass(frozen=True)
class Estimate:
    """The network as it is now: the rate that frames get on each connection, and the part of their
    latency that does not depend on their size (delays, computing). ``window`` frames are in flight,
    one admitted every ``frame_ms``: each waits for those before it where the transfer takes
    longest, unless it takes less than that."""

    rate_mbit: tuple[float, ...]
    other_ms: float
    window: int = 1
    frame_ms: float = 0.0

    def latency_ms(self, option: Option) -> float:
        """End-to-end latency of a frame under ``option``."""
        return self.other_ms + self.transfer_ms(option)

    def transfer_ms(self, option: Option) -> float:
        """Size-dependent part of the latency, ms: transfers, and waiting for them."""
        transfers = [
            serialisation_ms(size, rate) if rate > 0 else math.inf
            for size, rate in zip(option.frame_bytes, self.rate_mbit, strict=True)
        ]
        waiting_ms = max(0.0, max(transfers) - self.frame_ms)
        return sum(transfers) + (self.window - 1) * waiting_ms


@dataclass(frozen=True)
class PolicySettings:
    """Caution of the policy.

    A frame is to take at most ``bound_ms``. ``headroom`` is the share of it that a forecast may
    fill: rates vary within one decision. Upwards the forecast must stay below ``headroom`` x
    ``climb`` for ``patience`` decisions in a row, twice as many after each failed attempt up to
    ``most_patience``.
    """

    bound_ms: float
    headroom: float = 0.8
    climb: float = 0.9
    patience: int = 1
    most_patience: int = 48


@dataclass(frozen=True)
class PolicyState:
    """Memory of the policy: the option chosen, how long a better one has looked affordable,
    how long it must, and how many decisions ago it last climbed (``None``: never)."""

    chosen: int
    affordable: int = 0
    patience: int = 0
    since_climb: int | None = None


@dataclass(frozen=True)
class Decision:
    """The state after a decision, and why it was taken."""

    state: PolicyState
    reason: str


def front(options: Sequence[Option]) -> tuple[Option, ...]:
    """Options worth choosing from, the most accurate (and largest) first: no other has both fewer
    bytes in all and no less accuracy."""
    kept: list[Option] = []
    for option in sorted(options, key=lambda o: (sum(o.frame_bytes), -o.accuracy)):
        if not kept or option.accuracy > kept[-1].accuracy:
            kept.append(option)
    return tuple(reversed(kept))


def most_accurate_within(
    options: Sequence[Option], estimate: Estimate, bound_ms: float
) -> int | None:
    """Index of the first option that is foretold to meet a bound, if any is."""
    return next((i for i, o in enumerate(options) if estimate.latency_ms(o) <= bound_ms), None)


def decide(
    options: Sequence[Option], state: PolicyState, estimate: Estimate, settings: PolicySettings
) -> Decision:
    """The next choice among ``options``, the most accurate first (``front``)."""
    state = _older(state)
    limit_ms = settings.bound_ms * settings.headroom
    here_ms = estimate.latency_ms(options[state.chosen])
    fits = most_accurate_within(options, estimate, limit_ms)
    if here_ms > limit_ms:
        return _down(options, state, estimate, settings, here_ms, fits)
    better = most_accurate_within(options[: state.chosen], estimate, limit_ms * settings.climb)
    patience = state.patience or settings.patience
    if better is None:
        reason = f"{here_ms:.1f} ms fits, nothing better does"
        return Decision(replace(state, affordable=0, patience=_calmer(state, settings)), reason)
    if state.affordable + 1 < patience:
        reason = f"better looks affordable, {state.affordable + 1} of {patience} times"
        return Decision(replace(state, affordable=state.affordable + 1), reason)
    target = max(better, _next_up(options, state.chosen))
    climbed = PolicyState(target, 0, patience, since_climb=0)
    return Decision(climbed, f"recovered: {options[target].name} was affordable {patience} times")


def _next_up(options: Sequence[Option], chosen: int) -> int:
    """One step, or as many as ``MOST_GROWTH`` of the bytes allow: what the link gives beyond what
    it was asked for is not known yet."""
    most = MOST_GROWTH * sum(options[chosen].frame_bytes)
    up = next(i for i, option in enumerate(options) if sum(option.frame_bytes) <= most)
    return min(up, chosen - 1)


def _down(
    options: Sequence[Option],
    state: PolicyState,
    estimate: Estimate,
    settings: PolicySettings,
    here_ms: float,
    fits: int | None,
) -> Decision:
    lower = len(options) - 1 if fits is None else fits
    if lower <= state.chosen:
        return Decision(
            replace(state, affordable=0), f"{here_ms:.1f} ms at the strongest: nothing fits"
        )
    patience = state.patience or settings.patience
    if state.since_climb is not None and state.since_climb <= 2 * settings.patience:
        patience = min(2 * patience, settings.most_patience)
    reason = f"{options[state.chosen].name} would take {here_ms:.1f} ms"
    if fits is None:
        reason += f", and {options[lower].name} is the least there is"
    return Decision(PolicyState(lower, 0, patience, None), reason)


def _older(state: PolicyState) -> PolicyState:
    return state if state.since_climb is None else replace(state, since_climb=state.since_climb + 1)


def _calmer(state: PolicyState, settings: PolicySettings) -> int:
    """Patience goes back to normal once a climb has held for long."""
    held = state.since_climb is not None and state.since_climb > 8 * settings.patience
    return settings.patience if held else state.patience
