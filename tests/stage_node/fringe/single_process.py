"""What two hundred switches are compared with: the same generations in a single process."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stage_node.data import load_dataset
from stage_node.fringe.bottleneck import Bottleneck, BottleneckSpec
from stage_node.fringe.cut import Cut
from stage_node.fringe.messages import LoadModule, Side
from stage_node.models import ChainModel, ModelSpec, Segment, build_model
from stage_node.wire.codecs import Codec, Coding, Ranges
from stage_node.wire.rung import QUANTISED, UNCOMPRESSED, Rung
from tests.stage_node.fringe.rig import SPEC as MODEL
from tests.stage_node.fringe.rig import STAGES, Rig, random_cut

MODULE_CUT = 0
SPEC = BottleneckSpec(in_shape=(8, 8, 8), stride=2, channels=12, bits=4, hidden=8)


@dataclass(frozen=True)
class Case:
    """A model in three stages, the fringe layers of its two cuts, and what to switch between.

    The layer that a module brings tuned is the first of the receiving ones."""

    model: ModelSpec
    stages: tuple[tuple[str, ...], ...]
    fringe: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    generations: tuple[tuple[Rung, Rung], ...]

    @property
    def tuned(self) -> tuple[str, ...]:
        return self.fringe[MODULE_CUT][1][:1]

    @property
    def fringe_layers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(n for pair in self.fringe for side in pair for n in side))


@dataclass(frozen=True)
class Resident:
    """What the stages hold beside the model, as the single process holds it too."""

    case: Case
    cuts: list[Cut]
    bottleneck: Bottleneck
    tuned: Segment

    def loaded_into(self, rig: Rig) -> None:
        for number, (cut, pair) in enumerate(zip(self.cuts, self.case.fringe, strict=True)):
            rig.clients[number].load_cut(number, "encoder", cut.tensors(), pair[0])
            rig.clients[number + 1].load_cut(number, "decoder", cut.tensors(), pair[1])
        sides: tuple[tuple[Side, tuple[str, ...]], ...] = (
            ("encoder", ()),
            ("decoder", self.case.tuned),
        )
        for client, (side, layers) in zip(rig.clients, sides, strict=False):
            half = getattr(self.bottleneck, side).state_dict()
            tensors = {f"{side}.{name}": tensor for name, tensor in half.items()}
            tuned = self.tuned.state_dict() if layers else {}
            request = LoadModule(
                cut=MODULE_CUT, side=side, module="bottleneck", bottleneck=SPEC, layers=layers
            )
            client.load_module(request, {**tensors, **tuned})


def resident(model: ChainModel, case: Case) -> Resident:
    """Bases, ranges, orders and a bottleneck of random numbers: every mix-up would be seen."""
    x = load_dataset("digits").train.images[:64]
    cuts = []
    with torch.inference_mode():
        for number, layers in enumerate(case.stages[:-1]):
            x = model.segment(layers)(x)
            basis, mean = random_cut(x.shape[1], seed=number)
            vectors = x.movedim(1, -1).reshape(-1, x.shape[1]).clone()
            ends = [
                torch.stack([v.amin(0), v.amax(0)]) for v in (vectors, (vectors - mean) @ basis)
            ]
            plain, coordinates = (torch.stack([end] * len(QUANTISED)) for end in ends)
            order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(number))
            cuts.append(Cut(basis, mean, plain, coordinates, order))
    torch.manual_seed(5)
    tuned = build_model(model.spec).eval().segment(case.tuned)
    return Resident(case, cuts, Bottleneck(SPEC).eval(), tuned)


@torch.inference_mode()
def single_process(model: ChainModel, x: Tensor, rungs: tuple[Rung, ...], held: Resident) -> Tensor:
    """Logits (N, classes) of the same generation, written without stages: nothing is sliced,
    channels that are pruned are zero instead."""
    twin = copy.deepcopy(model)
    if rungs[MODULE_CUT].module:
        twin.layers.update(held.tuned.layers.items())
    for rung, cut, pair in zip(rungs, held.cuts, held.case.fringe, strict=True):
        others = cut.order[rung.channels or len(cut.order) :]
        for dimension, side in enumerate(pair):  # rows of the sender's, columns of the receiver's
            for name in side:
                keep_largest(twin.layers[name], rung.weights, others, dimension)
    for number, layers in enumerate(held.case.stages):
        x = twin.segment(layers)(x)
        if number < len(rungs):
            x = across(x, rungs[number], held, number)
    return x


def keep_largest(layer: nn.Module, share: float, others: Tensor, dimension: int) -> None:
    """Zero the weights of the other channels, then those below a threshold: there are no ties among
    random numbers."""
    for module in layer.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = module.weight.index_fill(dimension, others, 0)
            sizes = weight[weight != 0].abs().sort().values
            threshold = sizes[len(sizes) - round(share * len(sizes))]
            module.weight = nn.Parameter(weight * (weight.abs() >= threshold))


def across(x: Tensor, rung: Rung, held: Resident, number: int) -> Tensor:
    cut, kept = held.cuts[number], torch.arange(x.shape[1])
    if rung.channels:
        kept = torch.tensor(sorted(cut.order[: rung.channels].tolist()))
    z, whole = x[:, kept].contiguous(), x
    ranges = cut.ranges_of(rung.width, rung.bits)
    if rung.module:
        z, ranges = held.bottleneck.encoder(x), Ranges(torch.zeros(12), torch.ones(12))
    elif rung.width:
        at_mean = cut.mean.view(1, -1, 1, 1).expand_as(x).clone()
        at_mean[:, kept] = x[:, kept]
        z = cut.encoder(rung.width)(at_mean)
    elif ranges:
        ranges = Ranges(ranges.low[kept], ranges.high[kept])
    coding = Coding(Codec.of(rung), tuple(z.shape[1:]), rung.keep, ranges)
    z = coding.decode(memoryview(bytearray(coding.encode(z))), tuple(z.shape))
    if rung.module:
        return held.bottleneck.decoder(z)
    if rung.width:
        z = cut.decoder(rung.width)(z)[:, kept]
    return torch.zeros_like(whole).index_copy(1, kept, z)


RESNET = Case(
    model=MODEL,
    stages=STAGES,
    fringe=((("block1_0",), ("block2_0",)), (("block2_0",), ("block3_0",))),
    generations=(
        (UNCOMPRESSED, UNCOMPRESSED),
        (Rung(width=5), Rung(width=9)),
        (Rung(bits=8), Rung(width=12, bits=6)),
        (Rung(module="bottleneck", bits=4), UNCOMPRESSED),
        (Rung(module="bottleneck", bits=4, zstd=True), Rung(bits=4, zstd=True)),
        (Rung(width=7, keep=0.5, bits=8), Rung(keep=0.25)),
        (Rung(zstd=True), Rung(width=3, keep=0.5, bits=2, zstd=True)),
        (Rung(width=2, bits=2), Rung(width=1, zstd=True)),
        (UNCOMPRESSED, Rung(weights=0.25)),
        (Rung(weights=0.5, width=6, bits=8), Rung(zstd=True)),
    ),
)
CHAIN = Case(
    model=MODEL.model_copy(update={"family": "vgg", "downsample": "max"}),
    stages=(("stem", "conv1_0", "conv1_1"), ("pool2", "conv2_0", "conv2_1"), ("pool3", "conv3_0",
            "conv3_1", "head")),
    fringe=((("conv1_1",), ("pool2", "conv2_0")), (("conv2_1",), ("pool3", "conv3_0"))),
    generations=(
        (UNCOMPRESSED, UNCOMPRESSED),
        (Rung(channels=5), Rung(channels=9)),
        (Rung(channels=3, bits=8), UNCOMPRESSED),
        (Rung(channels=6, width=4, zstd=True), Rung(channels=12, keep=0.5, bits=6)),
        (Rung(channels=7, weights=0.5), Rung(weights=0.25, bits=8, zstd=True)),
        (Rung(module="bottleneck", weights=0.75, bits=4), Rung(channels=2, weights=0.5, width=2)),
        (Rung(channels=1, bits=2), Rung(channels=1, zstd=True)),
    ),
)  # fmt: skip
