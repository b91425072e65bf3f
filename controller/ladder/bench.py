"""One cut with both of its sides in one process: what a rung does to real activations, measured.

The sides are the very halves that stages use (``stage_node.fringe.halves``), so what is measured
here is what the live pipeline will do. Frozen layers run once; their activations are kept.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import safetensors.torch
import torch
from torch import Tensor, nn

from controller.fringe.fringe import find_fringe, is_chain
from controller.fringe.mechanisms import CutFacts
from controller.ladder.bottlenecks import DistilledModule
from controller.ladder.cache import LadderRequest
from controller.ladder.ladder import LadderRung
from controller.ladder.rung_cost import fringe_cost
from stage_node.data import Split
from stage_node.fringe.cut import Cut
from stage_node.fringe.halves import Half, Residents
from stage_node.fringe.messages import Side
from stage_node.models import ChainModel, Segment
from stage_node.wire.codecs import ALL_CODECS
from stage_node.wire.contract import ActivationContract
from stage_node.wire.rung import Rung

PREVIEW_IMAGES = 128
"""Images on which a combination has to show that it is worth an accuracy measurement."""

EVALUATION_BATCH = 100
SIDES: tuple[Side, Side] = ("encoder", "decoder")


@dataclass(frozen=True, eq=False)
class Trial:
    """Effect of one rung on some images: its cost per image, and what the receiving fringe layers
    made of what arrived."""

    rung: Rung
    payload_bytes: float
    encode_ms: float
    decode_ms: float
    arrived: Tensor


class CutBench:
    """The cut number ``cut`` of a partition; ``prepared`` is what its stages would hold."""

    def __init__(
        self,
        model: ChainModel,
        request: LadderRequest,
        cut: int,
        prepared: Cut,
        modules: Sequence[DistilledModule],
        split: Split,
    ) -> None:
        partition = request.partition
        pair = find_fringe(partition, request.fringe_layers).pairs[cut]
        sending, receiving = pair
        begin = partition.layers.index(sending[0])
        middle = begin + len(sending)
        end = middle + len(receiving)
        self.after = sending[-1]
        self.request = request
        self._split = split
        self._modules = {module.name: module for module in modules if module.cut == cut}
        self._sending, self._receiving = model.segment(sending), model.segment(receiving)
        self._behind = Segment({name: model.layers[name] for name in partition.layers[end:]})
        before = Segment({name: model.layers[name] for name in partition.layers[:begin]})
        self._earlier = _run(before, split.images)
        self._activations = _run(self._sending, self._earlier)
        self._undisturbed = _run(self._receiving, self._activations[:PREVIEW_IMAGES])
        shape = tuple(self._activations.shape[1:])
        self.contract = ActivationContract(
            cut=cut, shape=shape, max_batch=request.batch, codecs=ALL_CODECS
        )
        self.facts = CutFacts(
            channels=shape[0],
            modules=tuple((module.name, module.bits) for module in self._modules.values()),
            every_width=len(request.mechanisms) == 1,
            is_chain=is_chain(model, pair),
        )
        self._sides = {
            side: self._resident(side, model, prepared, fringe)
            for side, fringe in zip(SIDES, pair, strict=True)
        }

    def _resident(
        self, side: Side, model: ChainModel, prepared: Cut, fringe: tuple[str, ...]
    ) -> Residents:
        residents = Residents(self.contract, side, model.spec, fringe)
        residents.load_cut(prepared.tensors(), fringe)
        for module in self._modules.values():
            residents.load_module(module.request(side), module.tensors(side))
        return residents

    @property
    def images(self) -> int:
        """Validation images that accuracies are measured on."""
        return len(self._split)

    def preview(self, rung: Rung) -> tuple[float, float]:
        """Bytes per image, and the mean squared change of what the receiving fringe layers make of
        a few images."""
        trial = self._trial(rung, PREVIEW_IMAGES)
        return trial.payload_bytes, float((trial.arrived - self._undisturbed).square().mean())

    @torch.inference_mode()
    def measured(self, rung: Rung) -> LadderRung:
        """A rung over all validation images, with the accuracy of the whole model behind it."""
        trial = self._trial(rung, self.images)
        predicted = _run(self._behind, trial.arrived).argmax(1)
        sender, receiver = self._halves(rung)
        return LadderRung(
            rung=rung,
            payload_bytes=trial.payload_bytes,
            accuracy=int((predicted == self._split.labels).sum()) / self.images,
            encode_ms=trial.encode_ms,
            decode_ms=trial.decode_ms,
            fringe=fringe_cost(
                nn.Sequential(_serving(self._sending, sender), sender.transform),
                nn.Sequential(receiver.transform, _serving(self._receiving, receiver)),
                self._earlier[:1],
            ),
            transfer_bytes=self._transfer_bytes(rung),
        )

    @torch.inference_mode()
    def _trial(self, rung: Rung, images: int) -> Trial:
        """Send images over the cut in frames of the pipeline's batch."""
        sender, receiver = self._halves(rung)
        sending = _serving(self._sending, sender) if sender.changes_layers else None
        receiving = _serving(self._receiving, receiver)
        source = self._activations if sending is None else self._earlier
        sent_bytes, encode_s, decode_s, arrived = 0, 0.0, 0.0, []
        for batch in _batches(source[:images], self.request.batch):
            x = batch if sending is None else sending(batch)
            t_0 = time.thread_time()
            z = sender.transform(x)
            payload = sender.coding.encode(z)
            t_1 = time.thread_time()
            back = receiver.coding.decode(memoryview(bytearray(payload)), tuple(z.shape))
            restored = receiver.transform(back)
            encode_s, decode_s = encode_s + t_1 - t_0, decode_s + time.thread_time() - t_1
            arrived.append(receiving(restored))
            sent_bytes += len(payload)
        count = min(images, self.images)
        return Trial(
            rung,
            payload_bytes=sent_bytes / count,
            encode_ms=1e3 * encode_s / count,
            decode_ms=1e3 * decode_s / count,
            arrived=torch.cat(arrived),
        )

    def _halves(self, rung: Rung) -> tuple[Half, Half]:
        return self._sides["encoder"].half(rung), self._sides["decoder"].half(rung)

    def _transfer_bytes(self, rung: Rung) -> int:
        if rung.module is None:
            return 0
        module = self._modules[rung.module]
        return sum(len(safetensors.torch.save(module.tensors(side))) for side in SIDES)


def _serving(fringe: Segment, half: Half) -> Segment:
    """The fringe layers on one side as they serve under a rung."""
    return Segment(half.serving(dict(fringe.layers.items()))) if half.changes_layers else fringe


@torch.inference_mode()
def _run(segment: Segment, x: Tensor) -> Tensor:
    return torch.cat([segment(batch) for batch in _batches(x, EVALUATION_BATCH)])


def _batches(images: Tensor, size: int) -> Iterator[Tensor]:
    return (images[begin : begin + size] for begin in range(0, len(images), size))
