"""How the chain of layers is split into stages (US 2025/0265465 A1, claim 1; FIG. 4, 410; [0046]).

By hand, after the layers named, or balanced over a number of stages. The automatic split is
exact: dynamic programming finds the partition of a chain with the smallest bottleneck.
"""

import difflib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from controller.errors import BadPartitionError


@dataclass(frozen=True)
class Partition:
    """Consecutive layer names per stage, first stage first."""

    stages: tuple[tuple[str, ...], ...]

    @property
    def cuts(self) -> tuple[str, ...]:
        """The last layer before each cut; cut ``i`` lies between stage ``i`` and ``i + 1``."""
        return tuple(stage[-1] for stage in self.stages[:-1])

    @property
    def layers(self) -> tuple[str, ...]:
        """The whole chain."""
        return tuple(layer for stage in self.stages for layer in stage)


def split_after(layers: Sequence[str], cuts: Sequence[str]) -> Partition:
    """Cut a chain after the layers named in ``cuts``.

    Raises ``BadPartitionError`` for a layer that does not exist, comes twice, breaks the order
    of the chain, or leaves nothing for the last stage.
    """
    for cut in cuts:
        if cut not in layers:
            raise BadPartitionError(f"cuts: {_no_such_layer(cut, layers)}")
    ends = [layers.index(cut) + 1 for cut in cuts]
    for (previous, begin), (cut, end) in itertools.pairwise(zip(cuts, ends, strict=True)):
        if begin >= end:
            raise BadPartitionError(
                f"cuts: '{cut}' cannot come after '{previous}'; "
                f"name the cuts once each and in the order of the layers: {', '.join(layers)}"
            )
    if ends and ends[-1] == len(layers):
        raise BadPartitionError(
            f"cuts: nothing is left for a stage after '{cuts[-1]}', the last layer of the model"
        )
    return _at(layers, ends)


def split_balanced(layers: Sequence[str], stages: int, costs: Mapping[str, float]) -> Partition:
    """Split a chain into ``stages`` so that the costliest stage costs as little as possible.

    ``costs`` holds one number per layer in any unit (multiply-accumulates, parameters, measured
    milliseconds).
    """
    for layer in layers:
        cost = costs.get(layer)
        if cost is None or not (math.isfinite(cost) and cost >= 0):
            raise BadPartitionError(f"costs: layer '{layer}' has no usable cost: {cost}")
    return split_by_bottleneck(layers, stages, lambda _, layer: costs[layer], lambda *_: 0.0)


def split_by_bottleneck(
    layers: Sequence[str],
    stages: int,
    compute_cost: Callable[[int, str], float],
    transfer_cost: Callable[[int, str], float],
) -> Partition:
    """The partition whose slowest step is fastest: exact, in O(stages * layers^2).

    ``compute_cost(stage, layer)`` is what a layer costs on the device of that stage,
    ``transfer_cost(cut, layer)`` what sending the output of ``layer`` over that connection costs,
    both in one unit. A pipeline is as fast as its slowest stage or connection, so that maximum is
    minimised. Of equally good partitions the one whose last cuts come earliest is returned.
    """
    count = len(layers)
    if not 1 <= stages <= count:
        raise BadPartitionError(
            f"stages: {stages} stages cannot share the model's {count} layers: {', '.join(layers)}"
        )
    # best[end]: smallest bottleneck of layers[:end] over the stages so far, sending included.
    best = [0.0] + [math.inf] * count
    choices: list[list[int]] = []
    for stage in range(stages):
        bottleneck = [math.inf] * (count + 1)
        begins = [0] * (count + 1)
        for end in range(stage + 1, count - (stages - 1 - stage) + 1):
            last_stage = stage == stages - 1
            sending = 0.0 if last_stage else transfer_cost(stage, layers[end - 1])
            computing = 0.0
            for begin in range(end - 1, stage - 1, -1):
                computing += compute_cost(stage, layers[begin])
                candidate = max(best[begin], computing, sending)
                if candidate <= bottleneck[end]:
                    bottleneck[end], begins[end] = candidate, begin
        best = bottleneck
        choices.append(begins)
    ends = [count]
    for begins in reversed(choices[1:]):
        ends.append(begins[ends[-1]])
    return _at(layers, ends[:0:-1])


def _at(layers: Sequence[str], ends: Sequence[int]) -> Partition:
    bounds = [0, *ends, len(layers)]
    return Partition(tuple(tuple(layers[begin:end]) for begin, end in itertools.pairwise(bounds)))


def _no_such_layer(name: str, layers: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, layers, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"the model has no layer '{name}'{hint} Its layers: {', '.join(layers)}"
