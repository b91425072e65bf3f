"""Choices of automatic control: combinations of the ladders' rungs."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from controller.control.policy import Option, front
from controller.errors import BadTargetsError
from controller.fringe.targets import AutomaticControl, FringeTargets
from controller.ladder.ladder import Ladder
from controller.live.pipeline import Rungs
from stage_node.wire.frame import HEADER_BYTES

MOST_RUNGS = 12
"""Of each ladder; the rest lie between these and would only make the policy hesitate."""

_ROUNDING = 1e-9
"""0.98 - (0.98 - 0.97) is a little less than 0.97 in binary."""


@dataclass(frozen=True)
class RungChoice:
    """An option of the policy and the rungs it stands for."""

    option: Option
    rungs: Rungs


def choices_of(
    ladders: Sequence[Ladder], batch: int, targets: FringeTargets
) -> tuple[RungChoice, ...]:
    """Combinations of the ladders' rungs worth choosing from, the most accurate first, none below
    the accuracy floor; losses of several cuts are taken to add up.

    Raises ``BadTargetsError`` where the uncompressed model itself is below the floor; otherwise
    there is always a choice, for what is no less accurate and smaller may take its place.
    """
    floor = targets.accuracy_floor(uncompressed_choice(ladders, batch).option.accuracy)
    thinned = [_thinned(ladder) for ladder in ladders]
    choices: dict[Option, Rungs] = {}
    for indices in itertools.product(*thinned):
        choice = _choice(ladders, indices, batch)
        choices[choice.option] = choice.rungs
    allowed = [option for option in front(list(choices)) if option.accuracy >= floor - _ROUNDING]
    return tuple(RungChoice(option, choices[option]) for option in allowed)


def place_of(mode: int | str, choices: Sequence[RungChoice]) -> int:
    """The place of rungs that are named, or counted from either end.

    Raises ``BadTargetsError`` where there are none such.
    """
    names = [choice.option.name for choice in choices]
    if isinstance(mode, int) and -len(names) <= mode < len(names):
        return mode % len(names)
    if mode in names:
        return names.index(str(mode))
    raise BadTargetsError(
        f"modes: no rungs {mode!r}; there are {len(names)}, the most accurate first: "
        f"{' / '.join(names)}"
    )


def check_modes(choices: Sequence[RungChoice], settings: AutomaticControl) -> None:
    """``BadTargetsError`` for a mode that names rungs which are no choice, or another's."""
    named: dict[int, int | str] = {}
    for mode in settings.modes:
        if mode in ("automatic", "oracle", "uncompressed"):
            continue
        place = place_of(mode, choices)
        if place in named:
            raise BadTargetsError(
                f"modes: {named[place]!r} and {mode!r} are the same rungs, "
                f"{choices[place].option.name}"
            )
        named[place] = mode


def uncompressed_choice(ladders: Sequence[Ladder], batch: int) -> RungChoice:
    """The choice of no compression, whether or not it is worth choosing."""
    return _choice(ladders, [0] * len(ladders), batch)


def _choice(ladders: Sequence[Ladder], indices: Sequence[int], batch: int) -> RungChoice:
    rungs = [ladder.rungs[i] for ladder, i in zip(ladders, indices, strict=True)]
    lost = sum(ladder.loss(i) for ladder, i in zip(ladders, indices, strict=True))
    option = Option(
        name="; ".join(rung.name for rung in rungs),
        frame_bytes=tuple(HEADER_BYTES + batch * rung.payload_bytes for rung in rungs),
        accuracy=ladders[0].rungs[0].accuracy - lost,
    )
    return RungChoice(option, tuple(rung.rung for rung in rungs))


def _thinned(ladder: Ladder) -> list[int]:
    """At most ``MOST_RUNGS`` rungs, the first and the last among them."""
    last = ladder.strongest
    steps = min(last, MOST_RUNGS - 1)
    return sorted({round(i * last / steps) for i in range(steps + 1)}) if steps else [0]
