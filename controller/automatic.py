"""Automatic control of the live pipeline (claims 9 and 10): estimate, decide, switch.

Estimates are passive. A connection's rate is what the receiver saw of frames long enough to tell;
where they are too short, the sending kernel's delivery rate (``TCP_INFO``) starts an estimate that
then recovers slowly as long as the bound is kept. What of the measured latency the rates do not
explain is delay and computing, whatever the rungs.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from controller.ladder import Ladder
from controller.link_estimate import RateEstimate
from controller.optimizer import Emit
from controller.pipeline import Rungs
from controller.policy import Estimate, Option, PolicySettings, PolicyState, decide, front
from controller.session import LivePipeline
from controller.targets import AutomaticControl
from stage_node.control import ControlClient
from stage_node.events import RungChosen
from stage_node.wire import HEADER_BYTES

RECENT_FRAMES = 8
MOST_RUNGS = 12
"""Of each ladder; the rest lie between these and would only make the policy hesitate."""


@dataclass(frozen=True)
class Choice:
    """An option of the policy and the rungs it stands for."""

    option: Option
    rungs: Rungs


def choices_of(
    ladders: Sequence[Ladder], batch: int, min_accuracy: float = 0.0
) -> tuple[Choice, ...]:
    """Combinations of the ladders' rungs worth choosing from, the most accurate first; losses of
    several cuts are taken to add up. The most accurate stays where nothing is above the floor.
    """
    thinned = [_thinned(ladder) for ladder in ladders]
    choices: dict[Option, Rungs] = {}
    for indices in itertools.product(*thinned):
        rungs = [ladder.rungs[i] for ladder, i in zip(ladders, indices, strict=True)]
        lost = sum(ladder.loss(i) for ladder, i in zip(ladders, indices, strict=True))
        option = Option(
            name="; ".join(rung.name for rung in rungs),
            frame_bytes=tuple(HEADER_BYTES + batch * rung.payload_bytes for rung in rungs),
            accuracy=ladders[0].rungs[0].accuracy - lost,
        )
        choices[option] = tuple(rung.rung for rung in rungs)
    options = front(list(choices))
    allowed = [option for option in options if option.accuracy >= min_accuracy] or options[:1]
    return tuple(Choice(option, choices[option]) for option in allowed)


def control(
    live: LivePipeline,
    clients: Sequence[ControlClient],
    choices: Sequence[Choice],
    settings: AutomaticControl,
    window: int,
    emit: Emit,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Serve the validation split under the policy's rungs until the time is over.

    All choices are made resident first, so that a switch moves nothing but the source's stamp.
    """
    generations = [live.prepare(choice.rungs) for choice in choices]
    options = [choice.option for choice in choices]
    policy = PolicySettings(bound_ms=settings.bound_ms)
    state = PolicyState(chosen=len(choices) - 1)
    rates = [RateEstimate()] * (len(clients) - 1)
    live.activate(generations[state.chosen], "validation")
    end = clock() + settings.duration_s
    while clock() + settings.interval_s < end:
        sleep(settings.interval_s)
        recent = clients[0].recent(RECENT_FRAMES)
        if not recent.frames:
            continue  # not even one frame since the last switch
        kept = recent.latency_ms_median <= settings.bound_ms
        rates = [
            _updated(rate, sender, receiver, kept)
            for rate, (sender, receiver) in zip(rates, itertools.pairwise(clients), strict=True)
        ]
        estimate = _estimate(rates, recent.latency_ms_median, options[state.chosen], window)
        decision = decide(options, state, estimate, policy)
        if decision.state.chosen != state.chosen:
            chosen = decision.state.chosen
            live.activate(generations[chosen], "validation")
            _tell(
                emit,
                choices[chosen],
                generations[chosen],
                settings,
                estimate,
                recent.latency_ms_median,
                decision.reason,
            )
        state = decision.state


def _updated(
    rate: RateEstimate, sender: ControlClient, receiver: ControlClient, kept_bound: bool
) -> RateEstimate:
    measured = receiver.arrivals().recent_rate_mbit
    if measured is not None:
        return rate.after(measured)
    if rate.rate_mbit is None:
        return rate.after(sender.traffic().delivery_rate_mbit)
    return rate.unmeasured(kept_bound)


def _estimate(
    rates: Sequence[RateEstimate], latency_ms: float, served: Option, window: int
) -> Estimate:
    """What of the latency the transfers under ``served`` do not explain is there whatever is
    served."""
    known = tuple(rate.rate_mbit or 0.0 for rate in rates)
    transfer_ms = Estimate(known, 0.0, window).transfer_ms(served)
    return Estimate(known, max(0.0, latency_ms - transfer_ms), window)


def _tell(
    emit: Emit,
    choice: Choice,
    generation: int,
    settings: AutomaticControl,
    estimate: Estimate,
    latency_ms: float,
    reason: str,
) -> None:
    emit(
        RungChosen,
        generation=generation,
        rungs=tuple(rung.name for rung in choice.rungs),
        bound_ms=settings.bound_ms,
        rate_mbit=estimate.rate_mbit,
        forecast_ms=estimate.latency_ms(choice.option),
        latency_ms_median=latency_ms,
        accuracy=choice.option.accuracy,
        reason=reason,
    )


def _thinned(ladder: Ladder) -> list[int]:
    """At most ``MOST_RUNGS`` rungs, the first and the last among them."""
    last = ladder.strongest
    steps = min(last, MOST_RUNGS - 1)
    return sorted({round(i * last / steps) for i in range(steps + 1)}) if steps else [0]
