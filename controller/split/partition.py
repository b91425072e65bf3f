"""Partition of the chain of layers into stages (US 2025/0265465 A1, claim 1; FIG. 4, 410; [0046]).

By hand: after the layers named, by the number of layers of each stage, or balanced over a number of
stages. The automatic split (:mod:`controller.split.placement`) is exact: dynamic programming finds
the partition of a chain with the smallest bottleneck.
"""

import difflib
import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
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


def split_after(
    layers: Sequence[str], cuts: Sequence[str], residual: Collection[str] = ()
) -> Partition:
    """Cut a chain after the layers named in ``cuts``.

    ``residual`` are the layers that have a skip connection inside. Raises ``BadPartitionError``
    for a layer that does not exist, a place within a layer, a layer that comes twice, breaks the
    order of the chain, or leaves nothing for the last stage.
    """
    for cut in cuts:
        if cut not in layers:
            raise BadPartitionError(f"cuts: {_no_such_place(cut, layers, residual)}")
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


def split_by_size(layers: Sequence[str], sizes: Sequence[int]) -> Partition:
    """Give each stage its number of layers, first stage first.

    Raises ``BadPartitionError`` where a stage gets none, or their sum is not the whole chain.
    """
    if any(size < 1 for size in sizes) or sum(sizes) != len(layers):
        raise BadPartitionError(
            f"layers: {' + '.join(map(str, sizes))} = {sum(sizes)} layers, at least one for each "
            f"stage; the model has {len(layers)}: {', '.join(layers)}"
        )
    return _at(layers, list(itertools.accumulate(sizes))[:-1])


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
    minimised; of equally good partitions the one with the smallest sum of all steps is returned,
    which is the latency, and of those the one whose last cuts come earliest.
    """
    count = len(layers)
    if not 1 <= stages <= count:
        raise BadPartitionError(
            f"stages: {stages} stages cannot share the model's {count} layers: {', '.join(layers)}"
        )
    computed = [
        list(itertools.accumulate((compute_cost(stage, layer) for layer in layers), initial=0.0))
        for stage in range(stages)
    ]

    def steps(stage: int, begin: int, end: int) -> tuple[float, float]:
        """Cost of a stage of these layers, ms: computing, and sending its activation."""
        sending = transfer_cost(stage, layers[end - 1]) if stage < stages - 1 else 0.0
        return computed[stage][end] - computed[stage][begin], sending

    def slowest(before: float, stage: int, begin: int, end: int) -> float:
        return max(before, *steps(stage, begin, end))

    bottleneck, _ = _cheapest(count, stages, slowest)

    def latency(before: float, stage: int, begin: int, end: int) -> float:
        taken = steps(stage, begin, end)
        return before + sum(taken) if max(taken) <= bottleneck else math.inf

    _, ends = _cheapest(count, stages, latency)
    return _at(layers, ends)


def _cheapest(
    count: int, stages: int, cost: Callable[[float, int, int, int], float]
) -> tuple[float, list[int]]:
    """The smallest cost of ``count`` layers in ``stages``, and where all stages but the last end.

    ``cost(before, stage, begin, end)`` adds a stage of the layers ``begin`` to ``end`` to what
    the stages before it cost; it must not fall when ``before`` rises.
    """
    best = [0.0] + [math.inf] * count  # by the number of layers in the stages so far
    choices: list[list[int]] = []
    for stage in range(stages):
        reached = [math.inf] * (count + 1)
        begins = [0] * (count + 1)
        for end in range(stage + 1, count - (stages - 1 - stage) + 1):
            candidates = ((cost(best[b], stage, b, end), b) for b in range(stage, end))
            reached[end], begins[end] = min(candidates)
        best = reached
        choices.append(begins)
    ends = [count]
    for begins in reversed(choices[1:]):
        ends.append(begins[ends[-1]])
    return best[count], ends[:0:-1]


def _at(layers: Sequence[str], ends: Sequence[int]) -> Partition:
    bounds = [0, *ends, len(layers)]
    return Partition(tuple(tuple(layers[begin:end]) for begin, end in itertools.pairwise(bounds)))


def _no_such_place(name: str, layers: Sequence[str], residual: Collection[str]) -> str:
    layer = name.partition(".")[0]
    if layer in layers:
        return _within(name, layer, layers, residual)
    near = difflib.get_close_matches(name, layers, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"the model has no layer '{name}'{hint} Its layers: {', '.join(layers)}"


def _within(name: str, layer: str, layers: Sequence[str], residual: Collection[str]) -> str:
    """Why there is no cut inside a layer, and where the nearest are."""
    position = layers.index(layer)
    around = layers[max(position - 1, 0) : position + 1]
    if position == len(layers) - 1:  # after the last layer is nothing to cut off
        around = around[:-1]
    nearest = " or ".join(f"after '{place}'" for place in around)
    if layer in residual:
        return (
            f"'{name}' lies inside {layer}: a cut there would sever the skip connection of "
            f"{layer}, which a cut cannot carry; the nearest places for a cut are {nearest}"
        )
    return (
        f"'{name}' lies inside {layer}, which runs as a whole; the nearest places for a cut are "
        f"{nearest}"
    )
