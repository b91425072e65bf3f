"""Builds ladders: combinations of mechanisms are tried on real activations, in one process.

What comes out is measured: the bytes of encoded validation activations, the accuracy of the whole
model with one cut compressed, the time that coding takes, what the fringe layers cost.
"""

import dataclasses
from collections.abc import Callable, Sequence

import torch

from controller.fringe.fringe import find_fringe, is_chain
from controller.fringe.mechanisms import CODING, Mechanism, combinations
from controller.ladder.basis import Calibration, calibrate
from controller.ladder.bench import CutBench
from controller.ladder.bottlenecks import load_modules
from controller.ladder.cache import BuiltLadder, LadderRequest
from controller.ladder.importance import IMAGES, channel_order
from controller.ladder.ladder import (
    Ladder,
    LadderRung,
    LadderTable,
    pareto,
    standard_error,
    weakest_first,
)
from controller.ladder.work_cost import Meter
from controller.split.profiling import one_thread
from stage_node.data import load_dataset
from stage_node.fringe.cut import Cut
from stage_node.models import ChainModel, load_model
from stage_node.wire.rung import UNCOMPRESSED, Rung

Report = Callable[[str, int, int], None]
"""Told of a task, how much of it is done, and of how much."""

CLOSEST = 0.9
"""Two rungs with bytes closer than this say the same; the better one is measured."""


LIGHTER = 0.7
"""A rung with fewer weights has a place beside the same with all of them where they take no more
than this share of the bytes."""


@one_thread()
def build_ladder(request: LadderRequest, report: Report = lambda *_: None) -> BuiltLadder:
    """The ladders of a request, with the cuts and modules that stages need for their rungs.

    On one thread, as the stages compute: two of torch's on a busy machine wait for each other, and
    took a small model ten times as long.

    Errors come from reading the checkpoint, the data set and the modules.
    """
    meter = Meter()
    model, partition = load_model(request.checkpoint), request.partition
    dataset = load_dataset(request.dataset).limited(request.validation_images)
    modules = load_modules(request.modules, model, partition, request.fringe_layers)
    images = dataset.train.images[: request.calibration_images]
    calibrations = calibrate(model, partition, torch.split(images, request.batch))
    cuts = tuple(
        _cut(model, request, number, calibration, images[:IMAGES])
        for number, calibration in enumerate(calibrations)
    )
    ladders = tuple(
        _ladder(CutBench(model, request, number, cut, modules, dataset.validation), report)
        for number, cut in enumerate(cuts)
    )
    table = LadderTable(
        key=request.key,
        dataset=request.dataset,
        stages=partition.stages,
        mechanisms=request.mechanisms,
        calibration_images=len(images),
        validation_images=len(dataset.validation),
        batch=request.batch,
        ladders=ladders,
        modules=request.modules,
        cost=meter.cost(),
    )
    return BuiltLadder(table, cuts, modules)


@torch.inference_mode()
def _cut(
    model: ChainModel,
    request: LadderRequest,
    number: int,
    calibration: Calibration,
    images: torch.Tensor,
) -> Cut:
    """Make the residents of a cut: with an order of its channels where they are to be pruned."""
    cut, partition = calibration.cut, request.partition
    pair = find_fringe(partition, request.fringe_layers).pairs[number]
    if "channels" not in request.mechanisms or not is_chain(model, pair):
        return cut
    sent = partition.layers[: partition.layers.index(partition.cuts[number]) + 1]
    order = channel_order(model.segment(pair[1]), model.segment(sent)(images))
    return dataclasses.replace(cut, order=order)


def _ladder(bench: CutBench, report: Report) -> Ladder:
    rungs, considered = _promising(bench)
    measured: list[LadderRung] = []
    for rung in rungs:
        measured.append(bench.measured(rung))
        report(f"rungs after {bench.after}", len(measured), len(rungs))
    noise = standard_error(measured[0].accuracy, bench.images)
    kept: Sequence[LadderRung] = measured
    if bench.request.mechanisms != ("weights",):  # which change no bytes: nothing to choose by
        kept = pareto(measured, noise)
        if "weights" in bench.request.mechanisms:
            lighter = []
            for number, heavy in enumerate(kept, start=1):
                tried = _lighter(bench, heavy, noise)
                considered += len(tried)
                good = [rung for rung in tried if rung.accuracy > heavy.accuracy - noise]
                most = LIGHTER * heavy.fringe.weight_bytes
                lighter += [rung for rung in good[-1:] if rung.fringe.weight_bytes <= most]
                report(f"lighter rungs after {bench.after}", number, len(kept))
            kept = weakest_first([*kept, *lighter])
    return Ladder(
        after=bench.after,
        shape=bench.contract.shape,
        considered=considered,
        rungs=tuple(kept),
    )


def _promising(bench: CutBench) -> tuple[Sequence[Rung], int]:
    """The rungs that are worth an accuracy measurement, and how many were looked at.

    With a single mechanism there is nothing to choose between, and that is every rung. Otherwise
    codings are combined with each other first and those on their front then with fewer channels;
    weights, which hardly change bytes, come last, on the rungs that are kept.
    """
    mechanisms = bench.request.mechanisms
    if len(mechanisms) == 1:
        every = combinations(mechanisms, bench.facts)
        return every, len(every)
    rungs: tuple[Rung, ...] = (UNCOMPRESSED,)
    considered = 1
    for group in (CODING, ("channels",)):
        if named := tuple(name for name in mechanisms if name in group):
            tried = combinations(named, bench.facts, rungs)
            considered += len(tried) - len(rungs)
            rungs = _front(bench, tried)
    return rungs, considered


def _front(bench: CutBench, candidates: Sequence[Rung]) -> tuple[Rung, ...]:
    """Those that no other beats in bytes and squared error on a few images, spread out.

    A distilled module is judged by its accuracy alone: it does not try to restore activations.
    """
    uncompressed, *others = candidates
    chosen = [rung for rung in others if rung.module is not None]
    tried = [(*bench.preview(rung), rung) for rung in others if rung.module is None]
    # Along rising bytes, a rung that restores better than all before is on the front.
    front: list[tuple[float, float, Rung]] = []
    for size, error, rung in sorted(tried, key=lambda t: t[:2]):
        if front and error >= front[-1][1]:
            continue
        if front and front[-1][0] > CLOSEST * size:
            front.pop()
        front.append((size, error, rung))
    return (uncompressed, *chosen, *(rung for _, _, rung in front))


def _lighter(bench: CutBench, heavy: LadderRung, noise: float) -> list[LadderRung]:
    """Yield the rung with fewer and fewer weights, until that clearly costs accuracy."""
    tried: list[LadderRung] = []
    for rung in Mechanism.registry["weights"].variants(heavy.rung, bench.facts)[1:]:
        tried.append(bench.measured(rung))
        if tried[-1].accuracy <= heavy.accuracy - noise:
            break
    return tried
