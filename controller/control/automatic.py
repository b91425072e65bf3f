"""Automatic control of the live pipeline (claims 9 and 10), beside what it is compared with.

The pipeline is served under one mode after the other, each with the links' traces from their
beginning: automatic control, fixed rungs, an oracle.
"""

import time
from collections.abc import Callable, Sequence

from controller.control.choices import (
    RungChoice,
    check_modes,
    choices_of,
    place_of,
    uncompressed_choice,
)
from controller.control.choosers import Automatic, Chooser, Fixed, Oracle, Pick, Seen
from controller.fringe.targets import AutomaticControl, FringeTargets
from controller.ladder.ladder import Ladder
from controller.live.known_rates import KnownRates
from controller.live.session import LivePipeline
from stage_node.fringe.rpc import ControlClient
from stage_node.records.events import ControlBegins, Emit, RungChosen

LEAD_S = 0.5
"""From the announcement of a mode to its beginning: the replay of traces has to receive it."""


def control(
    live: LivePipeline,
    clients: Sequence[ControlClient],
    ladders: Sequence[Ladder],
    batch: int,
    window: int,
    settings: AutomaticControl,
    targets: FringeTargets,
    truth: Sequence[KnownRates],
    emit: Emit,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Serve the validation split under each mode in turn; ``truth`` is for the oracle alone.

    All choices are made resident first, so that a switch moves nothing but the source's stamp.
    """
    choices = choices_of(ladders, batch, targets)
    check_modes(choices, settings)
    modes = [_chooser(mode, choices, settings, window, truth) for mode in settings.modes]
    served = (*choices, uncompressed_choice(ladders, batch))
    generations = [live.prepare(choice.rungs) for choice in served]
    serving = Serving(live, clients, served, generations, settings, emit, clock, sleep)
    for name, chooser in modes:
        serving.under(name, chooser)


def _chooser(
    mode: int | str,
    choices: Sequence[RungChoice],
    settings: AutomaticControl,
    window: int,
    truth: Sequence[KnownRates],
) -> tuple[str, Chooser]:
    """The mode's name and who decides in it."""
    options = [choice.option for choice in choices]
    match mode:
        case "automatic":
            return mode, Automatic(options, settings, window, len(options[0].frame_bytes))
        case "oracle":
            return mode, Oracle(options, truth, settings)
        case "uncompressed":
            return mode, Fixed(len(choices))
    place = place_of(mode, choices)
    return options[place].name, Fixed(place)


class Serving:
    """The pipeline, served under one mode after the other."""

    def __init__(
        self,
        live: LivePipeline,
        clients: Sequence[ControlClient],
        choices: Sequence[RungChoice],
        generations: Sequence[int],
        settings: AutomaticControl,
        emit: Emit,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._live = live
        self._clients = clients
        self._choices = choices
        self._generations = generations
        self._settings = settings
        self._emit = emit
        self._clock = clock
        self._sleep = sleep
        self._used: set[int] = set()  # generations that the present mode has served under

    def under(self, mode: str, chooser: Chooser) -> None:
        """Announce the mode, wait for its time, serve; frames of the mode before count for it."""
        place = chooser.first()
        self._used.clear()
        self._activate(place)
        begin_s = self._clock() + LEAD_S
        end_s = begin_s + self._settings.duration_s
        self._emit(
            ControlBegins(
                mode=mode,
                begin_ns=round(begin_s * 1e9),
                end_ns=round(end_s * 1e9),
                bound_ms=self._settings.bound_ms,
                frame_ms=self._settings.frame_ms,
            )
        )
        self._sleep(LEAD_S)
        self._tell(place, None, None, f"{mode} begins")
        self._clients[0].recent()  # of the mode before
        while self._clock() + self._settings.interval_s < end_s:
            self._sleep(self._settings.interval_s)
            seen = self._look(1e3 * (self._clock() - begin_s))
            pick = chooser.choose(seen)
            if pick is not None and pick.place != place:
                place = pick.place
                self._activate(place)
                latency_ms = seen.frames[-1][1] if seen.frames else None
                self._tell(place, pick, latency_ms, pick.reason)

    def _activate(self, place: int) -> None:
        generation = self._generations[place]
        self._used.add(generation)
        self._live.activate(generation, "validation", self._settings.frame_ms, go_on=True)

    def _look(self, t_ms: float) -> Seen:
        recent = self._clients[0].recent()
        place_of = {
            generation: place
            for place, generation in enumerate(self._generations)
            if generation in self._used
        }
        frames = [(place_of[g], ms) for g, ms in recent.frames if g in place_of]
        waiting = recent.waiting if recent.waiting and recent.waiting[0] in place_of else None
        return Seen(
            t_ms=t_ms,
            frames=tuple(frames),
            waiting=(place_of[waiting[0]], waiting[1]) if waiting else None,
            rates_mbit=tuple(c.arrivals().recent_rate_mbit for c in self._clients[1:]),
            delivery_mbit=lambda cut: self._clients[cut].traffic().delivery_rate_mbit,
        )

    def _tell(self, place: int, pick: Pick | None, latency_ms: float | None, reason: str) -> None:
        choice = self._choices[place]
        self._emit(
            RungChosen(
                generation=self._generations[place],
                rungs=tuple(rung.name for rung in choice.rungs),
                bound_ms=self._settings.bound_ms,
                rate_mbit=pick.estimate.rate_mbit if pick else (),
                forecast_ms=pick.estimate.latency_ms(choice.option) if pick else None,
                latency_ms=latency_ms,
                accuracy=choice.option.accuracy,
                reason=reason,
            )
        )
