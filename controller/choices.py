"""What automatic control may choose from: combinations of the ladders' rungs."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from controller.errors import BadTargetsError
from controller.ladder import Ladder
from controller.pipeline import Rungs
from controller.policy import Option, front
from controller.targets import AutomaticControl
from stage_node.wire import HEADER_BYTES

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
        choice = _choice(ladders, indices, batch)
        choices[choice.option] = choice.rungs
    options = front(list(choices))
    allowed = [option for option in options if option.accuracy >= min_accuracy] or options[:1]
    return tuple(Choice(option, choices[option]) for option in allowed)


def place_of(mode: int | str, choices: Sequence[Choice]) -> int:
    """The place of rungs that are named, or counted from either end.

    Raises ``BadTargetsError`` where there are none such.
    """
    names = [choice.option.name for choice in choices]
    if isinstance(mode, int) and -len(names) <= mode < len(names):
        return mode % len(names)
    if mode in names:
        return names.index(str(mode))
    raise BadTargetsError(
        f"control.modes: no rungs {mode!r}; there are {len(names)}, the most accurate first: "
        f"{' / '.join(names)}"
    )


def check_modes(ladders: Sequence[Ladder], batch: int, settings: AutomaticControl) -> None:
    """``BadTargetsError`` for a mode that names rungs which are no choice."""
    choices = choices_of(ladders, batch, settings.min_accuracy)
    for mode in settings.modes:
        if mode not in ("automatic", "oracle", "uncompressed"):
            place_of(mode, choices)


def uncompressed_choice(ladders: Sequence[Ladder], batch: int) -> Choice:
    """Nothing compressed anywhere, whether or not that is worth choosing."""
    return _choice(ladders, [0] * len(ladders), batch)


def _choice(ladders: Sequence[Ladder], indices: Sequence[int], batch: int) -> Choice:
    rungs = [ladder.rungs[i] for ladder, i in zip(ladders, indices, strict=True)]
    lost = sum(ladder.loss(i) for ladder, i in zip(ladders, indices, strict=True))
    option = Option(
        name="; ".join(rung.name for rung in rungs),
        frame_bytes=tuple(HEADER_BYTES + batch * rung.payload_bytes for rung in rungs),
        accuracy=ladders[0].rungs[0].accuracy - lost,
    )
    return Choice(option, tuple(rung.rung for rung in rungs))


def _thinned(ladder: Ladder) -> list[int]:
    """At most ``MOST_RUNGS`` rungs, the first and the last among them."""
    last = ladder.strongest
    steps = min(last, MOST_RUNGS - 1)
    return sorted({round(i * last / steps) for i in range(steps + 1)}) if steps else [0]
