"""Builds ladders: every combination of mechanisms is tried on real activations, in one process.

Both sides of each cut are the very halves that stages use (``stage_node.residents``). What comes
out is measured: the bytes of encoded validation activations, the accuracy of the whole model with
one cut compressed, the time that coding takes. Frozen stages run once; their activations are kept.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from controller.basis import Calibration, calibrate
from controller.cost import Meter
from controller.ladder import Ladder, LadderRung, LadderTable, pareto, standard_error
from controller.ladder_request import BuiltLadder, LadderRequest
from controller.mechanisms import CutFacts, combinations
from controller.modules import DistilledModule, load_modules
from controller.partition import Partition
from stage_node.codecs import ALL_CODECS
from stage_node.contract import ActivationContract
from stage_node.data import Split, load_dataset
from stage_node.messages import Side
from stage_node.models import ChainModel, Segment, load_model
from stage_node.residents import Half, Residents
from stage_node.rung import Rung

Report = Callable[[str, int, int], None]
"""Told of a task, how much of it is done, and of how much."""

PREVIEW_IMAGES = 128
"""Images on which a combination has to show that it is worth an accuracy measurement."""

CLOSEST = 0.9
"""Two rungs with bytes closer than this say the same; the better one is measured."""

EVALUATION_BATCH = 100


def build_ladder(request: LadderRequest, report: Report = lambda *_: None) -> BuiltLadder:
    """The ladders of a request, with the cuts and modules that stages need for their rungs.

    Errors are those of reading the checkpoint, the data set and the modules.
    """
    meter = Meter()
    model, partition = load_model(request.checkpoint), request.partition
    dataset = load_dataset(request.dataset).limited(request.validation_images)
    modules = load_modules(request.modules, model, partition, request.fringe_layers)
    images = dataset.train.images[: request.calibration_images]
    calibrations = calibrate(model, partition, _batches(images, request.batch))
    split = dataset.validation
    ladders = tuple(
        _ladder(CutBench(model, partition, cut, calibration, modules, split, request), report)
        for cut, calibration in enumerate(calibrations)
    )
    table = LadderTable(
        key=request.key,
        dataset=request.dataset,
        stages=partition.stages,
        mechanisms=request.mechanisms,
        calibration_images=len(images),
        validation_images=len(split),
        batch=request.batch,
        ladders=ladders,
        modules=request.modules,
        cost=meter.cost(),
    )
    return BuiltLadder(table, tuple(c.cut for c in calibrations), modules)


@dataclass(frozen=True, eq=False)
class Trial:
    """What one rung did to some activations: its cost per image, and what was restored."""

    rung: Rung
    payload_bytes: float
    encode_ms: float
    decode_ms: float
    restored: Tensor


class CutBench:
    """One cut with both of its sides in this process."""

    def __init__(
        self,
        model: ChainModel,
        partition: Partition,
        cut: int,
        calibration: Calibration,
        modules: Sequence[DistilledModule],
        split: Split,
        request: LadderRequest,
    ) -> None:
        layers = partition.layers
        end = layers.index(partition.cuts[cut]) + 1
        self.after = layers[end - 1]
        self.request = request
        self.modules = [module for module in modules if module.cut == cut]
        self._split = split
        self._head, self._tail = model.segment(layers[:end]), model.segment(layers[end:])
        self.activations = self._activations({})
        shape = tuple(self.activations.shape[1:])
        contract = ActivationContract(
            cut=cut, shape=shape, max_batch=request.batch, codecs=ALL_CODECS
        )
        self.contract = contract
        self._sides: dict[Side, Residents] = {}
        for side in ("encoder", "decoder"):
            fringe = tuple(dict.fromkeys(n for m in self.modules for n in m.layers_of(side)))
            self._sides[side] = Residents(contract, side, model.spec, fringe)
            self._sides[side].load_cut(calibration.cut.tensors())
            for module in self.modules:
                self._sides[side].load_module(module.request(side), module.tensors(side))

    def candidates(self) -> tuple[Rung, ...]:
        """Every combination of the mechanisms asked for."""
        facts = CutFacts(
            channels=self.contract.shape[0],
            modules=tuple((module.name, module.bits) for module in self.modules),
            every_width=self.request.mechanisms == ("width",),
        )
        return combinations(self.request.mechanisms, facts)

    @property
    def images(self) -> int:
        """Validation images that accuracies are measured on."""
        return len(self._split)

    @torch.inference_mode()
    def trial(self, rung: Rung, activations: Tensor) -> Trial:
        """Send activations (N, C, H, W) over the cut in frames of the pipeline's batch."""
        sender, receiver = (self._sides[side].half(rung) for side in ("encoder", "decoder"))
        sent_bytes, encode_s, decode_s, restored = 0, 0.0, 0.0, []
        for x in _batches(activations, self.request.batch):
            t_0 = time.perf_counter()
            z = sender.transform(x)
            payload = sender.coding.encode(z)
            t_1 = time.perf_counter()
            back = receiver.coding.decode(memoryview(bytearray(payload)), tuple(z.shape))
            restored.append(receiver.transform(back))
            encode_s, decode_s = encode_s + t_1 - t_0, decode_s + time.perf_counter() - t_1
            sent_bytes += len(payload)
        count = len(activations)
        return Trial(
            rung,
            payload_bytes=sent_bytes / count,
            encode_ms=1e3 * encode_s / count,
            decode_ms=1e3 * decode_s / count,
            restored=torch.cat(restored),
        )

    def measured(self, rung: Rung) -> LadderRung:
        """A rung over all validation images, with the accuracy of the whole model behind it."""
        sender, receiver = (self._sides[side].half(rung) for side in ("encoder", "decoder"))
        x = self._activations(sender.layers) if sender.layers else self.activations
        trial = self.trial(rung, x)
        return LadderRung(
            rung=rung,
            payload_bytes=trial.payload_bytes,
            accuracy=self._accuracy(trial.restored, receiver),
            encode_ms=trial.encode_ms,
            decode_ms=trial.decode_ms,
        )

    @torch.inference_mode()
    def _activations(self, tuned: dict[str, nn.Module] | object) -> Tensor:
        head = _with(self._head, tuned)
        return torch.cat([head(x) for x in _batches(self._split.images, EVALUATION_BATCH)])

    @torch.inference_mode()
    def _accuracy(self, restored: Tensor, receiver: Half) -> float:
        tail = _with(self._tail, receiver.layers)
        batches = _batches(restored, EVALUATION_BATCH)
        predicted = torch.cat([tail(x).argmax(1) for x in batches])
        return int((predicted == self._split.labels).sum()) / len(self._split)


def _ladder(bench: CutBench, report: Report) -> Ladder:
    candidates = bench.candidates()
    promising = _promising(bench, candidates)
    measured: list[LadderRung] = []
    for rung in promising:
        measured.append(bench.measured(rung))
        report(f"rungs after {bench.after}", len(measured), len(promising))
    return Ladder(
        after=bench.after,
        shape=bench.contract.shape,
        considered=len(candidates),
        rungs=pareto(measured, standard_error(measured[0].accuracy, bench.images)),
    )


def _promising(bench: CutBench, candidates: Sequence[Rung]) -> list[Rung]:
    """Those that no other beats in bytes and squared error on a few images, spread out.

    A distilled module is judged by its accuracy alone: it does not try to restore activations.
    With a single mechanism there is nothing to choose between, and every rung is measured.
    """
    if len(bench.request.mechanisms) == 1:
        return list(candidates)
    preview = bench.activations[:PREVIEW_IMAGES]
    uncompressed, *others = candidates
    chosen = [rung for rung in others if rung.module is not None]
    tried = []
    for rung in others:
        if rung.module is None:
            trial = bench.trial(rung, preview)
            error = float((trial.restored - preview).square().mean())
            tried.append((trial.payload_bytes, error, rung))
    # Along rising bytes, whoever restores better than all before is on the front.
    front: list[tuple[float, float, Rung]] = []
    for size, error, rung in sorted(tried, key=lambda t: t[:2]):
        if front and error >= front[-1][1]:
            continue
        if front and front[-1][0] > CLOSEST * size:
            front.pop()
        front.append((size, error, rung))
    return [uncompressed, *chosen, *(rung for _, _, rung in front)]


def _with(segment: Segment, tuned: object) -> Segment:
    return Segment({**segment.layers, **tuned}) if isinstance(tuned, dict) and tuned else segment


def _batches(images: Tensor, size: int) -> Iterator[Tensor]:
    return (images[begin : begin + size] for begin in range(0, len(images), size))
