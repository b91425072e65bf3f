"""After a whole loop with every mechanism, only fringe layers ever differed from the model's own.

The stages run in this process, so that every tensor that served can be looked at, generation by
generation; claim 4 of US 2025/0265465 A1.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from controller.fringe.fringe import find_fringe
from controller.fringe.mechanisms import ORDER
from controller.fringe.targets import FringeTargets
from controller.ladder.basis import calibrate
from controller.ladder.bottlenecks import DistilledModule, load_modules
from controller.ladder.ladder import Ladder, LadderRung, ModuleFile
from controller.live.pipeline import CutObservation, Observation, Rungs, SplitName
from controller.loop.optimizer import optimize
from controller.split.partition import Partition, split_after
from stage_node.data import load_dataset
from stage_node.fringe.bottleneck import Bottleneck, BottleneckSpec, save_bottleneck
from stage_node.fringe.messages import Configure
from stage_node.fringe.stage_model import StageModel
from stage_node.models import ChainModel, ModelSpec
from stage_node.models.frozen import layer_of
from stage_node.wire.codecs import ALL_CODECS
from stage_node.wire.contract import ActivationContract
from stage_node.wire.rung import UNCOMPRESSED, Rung
from tests.stage_node.fringe.rig import SPEC, random_model

CHAIN = SPEC.model_copy(update={"family": "vgg", "downsample": "max"})
CUTS = {"resnet": ("block1_0", "block2_0"), "vgg": ("conv1_0", "conv2_0")}
BATCH = 50


class Stages:
    """A ``Pipeline`` of stage models without stages: what one sends is given to the next."""

    def __init__(
        self, model: ChainModel, partition: Partition, modules: Sequence[DistilledModule]
    ) -> None:
        pairs, shapes = find_fringe(partition).pairs, model.shapes()
        contracts = [
            ActivationContract(cut=cut, shape=shapes[after][1:], max_batch=BATCH, codecs=ALL_CODECS)
            for cut, after in enumerate(partition.cuts)
        ]
        images = load_dataset("digits").train.images[:100]
        cuts = [
            dataclasses.replace(calibration.cut, order=torch.randperm(calibration.basis.channels))
            for calibration in calibrate(model, partition, [images])
        ]
        self.stages = [
            StageModel(
                Configure(
                    stage=number,
                    stages=len(partition.stages),
                    model=model.spec,
                    model_hash="",
                    layers=layers,
                    fringe=tuple(n for n in find_fringe(partition).layers if n in layers),
                    upstream=before,
                    downstream=behind,
                    listen_ip=None,
                    data_port=0,
                    next_ip=None,
                    next_port=None,
                    results_ip="",
                    results_port=0,
                    window=1,
                    batch=BATCH,
                )
            )
            for number, (layers, before, behind) in enumerate(
                zip(partition.stages, [None, *contracts], [*contracts, None], strict=True)
            )
        ]
        for stage, layers in zip(self.stages, partition.stages, strict=True):
            stage.load_layers(model.segment(layers).state_dict())
        ends = zip(cuts, itertools.pairwise(self.stages), pairs, strict=True)
        for number, (cut, (sender, receiver), (sending, receiving)) in enumerate(ends):
            sender.load_cut(number, "encoder", cut.tensors(), sending)
            receiver.load_cut(number, "decoder", cut.tensors(), receiving)
        for module in modules:
            for side in ("encoder", "decoder"):
                stage = self.stages[module.cut + (side == "decoder")]
                stage.load_module(module.request(side), module.tensors(side))
        self.generation = 0
        self.observed: set[Rung] = set()

    def observe(self, rungs: Rungs, split: SplitName) -> Observation:
        self.generation += 1
        self.observed.update(rungs)
        for stage in self.stages:
            stage.prepare(self.generation, rungs)
        data = getattr(load_dataset("digits"), split)
        correct, sent = 0, [0] * len(rungs)
        for images, labels in zip(data.images.split(BATCH), data.labels.split(BATCH), strict=True):
            x = images
            for number, stage in enumerate(self.stages):
                x = stage.run(self.generation, x)
                if number < len(rungs):
                    payload = stage.outgoing(self.generation).encode(x)
                    sent[number] += len(payload)
                    coding = self.stages[number + 1].incoming(self.generation)
                    x = coding.decode(memoryview(bytearray(payload)), tuple(x.shape))
            correct += int((x.argmax(1) == labels).sum())
        return Observation(
            generation=self.generation,
            rungs=rungs,
            split=split,
            correct=correct,
            samples=len(data),
            latency_ms_median=1,
            connections=tuple(CutObservation(size / len(data), 1) for size in sent),
            begin_ns=0,
            end_ns=0,
        )

    def resume(self, generation: int) -> None:
        """Every generation stays prepared."""

    def served(self) -> dict[tuple[int, str], Tensor]:
        """Every tensor of every layer of every generation."""
        return {
            (number, name): tensor
            for stage in self.stages
            for number, generation in stage._generations.items()
            for name, tensor in generation.layers.state_dict().items()
        }


def sha256(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


EVERY = (
    Rung(weights=0.5),
    Rung(module="m", bits=2, weights=0.75),
    Rung(channels=5),
    Rung(channels=4, weights=0.25, bits=8),
    Rung(width=6, keep=0.5, bits=6, zstd=True),
    Rung(channels=3, width=2, zstd=True),
    Rung(weights=0.125, width=2, bits=2),
)
"""Every mechanism, alone or with others, from weak to strong."""


def ladder(after: str, shape: tuple[int, ...], rungs: Sequence[Rung]) -> Ladder:
    steps = tuple(
        LadderRung(rung=rung, payload_bytes=1000 * 0.6**place, accuracy=1 - place / 100)
        for place, rung in enumerate((UNCOMPRESSED, *rungs))
    )
    return Ladder(after=after, shape=shape, considered=len(steps), rungs=steps)


@pytest.mark.parametrize("spec", [SPEC, CHAIN], ids=["residual blocks", "plain chain"])
def test_whatever_the_loop_tried_every_other_tensor_is_bit_identical(
    spec: ModelSpec, tmp_path: Path
) -> None:
    model = random_model(spec=spec)
    partition = split_after(model.layer_names, CUTS[spec.family])
    fringe, shapes = find_fringe(partition), model.shapes()
    ladders = [
        ladder(after, shapes[after][1:], [r for r in EVERY if fits(r, spec, cut)])
        for cut, after in enumerate(partition.cuts)
    ]
    before = {name: sha256(tensor) for name, tensor in model.state_dict().items()}
    pipeline = Stages(model, partition, a_module(model, partition, tmp_path))
    # the floor never breaks, so the loop goes down as far as the ladders do
    targets = FringeTargets(
        min_accuracy=0, max_bytes_per_inference=1, mechanisms=ORDER, step_ratio=0.9
    )
    outcome = optimize(pipeline, ladders, targets, lambda *_, **__: None, BATCH)
    assert pipeline.observed >= {rung for own in ladders for rung in (r.rung for r in own.rungs)}

    served = pipeline.served()
    changed = {name for (_, name), tensor in served.items() if sha256(tensor) != before[name]}
    assert {layer_of(name) for name in changed} == set(fringe.layers), "these and no others"
    first = {name: sha256(tensor) for (number, name), tensor in served.items() if number == 0}
    assert first == before, "under generation 0 the fringe is the model's own too"
    again = pipeline.observe((UNCOMPRESSED, UNCOMPRESSED), "validation")
    assert again.correct == outcome.baseline.correct
    assert {name: sha256(tensor) for name, tensor in model.state_dict().items()} == before


def fits(rung: Rung, spec: ModelSpec, cut: int) -> bool:
    """The module is for the first cut; residual blocks have no channels to lose."""
    return not (rung.module and cut) and not (rung.channels and spec.family == "resnet")


def a_module(model: ChainModel, partition: Partition, folder: Path) -> tuple[DistilledModule, ...]:
    """A bottleneck that learned nothing, with tuned copies of both fringe layers."""
    sending, receiving = find_fringe(partition).pairs[0]
    shape = model.shapes()[sending[-1]][1:]
    bottleneck = Bottleneck(BottleneckSpec(in_shape=shape, stride=2, channels=8, bits=2, hidden=8))
    layers = model.segment((*sending, *receiving)).state_dict()
    file = folder / "module.safetensors"
    save_bottleneck(file, bottleneck.eval(), {name: 1.01 * t for name, t in layers.items()})
    named = ModuleFile(name="m", after=sending[-1], file=str(file))
    return load_modules([named], model, partition, 1)
