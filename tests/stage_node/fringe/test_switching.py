"""Serving-time switching: two hundred switches under load, and not one inference out of place."""

import copy
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars
import pytest
import torch
from torch import Tensor, nn

from stage_node.data import load_dataset
from stage_node.errors import BadModelError, RefusedError
from stage_node.fringe.bottleneck import Bottleneck, BottleneckSpec
from stage_node.fringe.cut import Cut
from stage_node.fringe.halves import Residents
from stage_node.fringe.messages import LoadModule, Side
from stage_node.models import ChainModel, ModelSpec, Segment, build_model
from stage_node.processes.zygote import Zygote
from stage_node.records.ledger import to_parquet
from stage_node.wire.codecs import ALL_CODECS, Codec, Coding, Ranges
from stage_node.wire.contract import ActivationContract
from stage_node.wire.frame import FrameKind
from stage_node.wire.rung import QUANTISED, UNCOMPRESSED, Rung
from tests.stage_node.fringe.rig import SPEC as MODEL
from tests.stage_node.fringe.rig import STAGES, Rig, pipeline, random_cut

SWITCHES = 200
BATCH = 8
WINDOW = 4
APART = 9
"""Frames, at least, from one switch to the next where they are counted."""
Floats = npt.NDArray[np.float64]
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


@pytest.mark.parametrize("case", [RESNET, CHAIN], ids=["residual blocks", "plain chain"])
def test_two_hundred_switches_under_load_and_every_output_is_that_of_its_generation(
    zygote: Zygote, tmp_path: Path, case: Case
) -> None:
    choose = random.Random(11)
    generations = case.generations
    with pipeline(
        zygote,
        tmp_path,
        stages=case.stages,
        batch=BATCH,
        window=WINDOW,
        codecs=ALL_CODECS,
        fringe=case.fringe_layers,
        spec=case.model,
    ) as rig:
        held = resident(rig.model, case)
        held.loaded_into(rig)
        for number, rungs in enumerate(generations):
            for client in rig.clients:
                client.prepare(number, rungs)
        frozen = [client.frozen_hash() for client in rig.clients]
        rig.start()
        source = rig.clients[0]
        source.results(0, 50 * BATCH)
        began = [(0, 0)]
        for _ in range(SWITCHES):
            generation = choose.randrange(len(generations))
            active = source.activate(generation, "validation")
            began.append((active.first_sequence, generation))
            time.sleep(choose.uniform(0, 0.02))  # at no particular moment of the pipeline
        source.drain()
        assert [client.frozen_hash() for client in rig.clients] == frozen
        assert rig.stop(zygote) == [0, 0, 0]

    images = load_dataset("digits").validation.images.split(BATCH)
    with torch.inference_mode():
        expected = {
            (g, i): single_process(rig.model, batch, rungs, held)
            for g, rungs in enumerate(generations)
            for i, batch in enumerate(images)
        }
    told_apart = {
        (g, i): sum(
            not torch.equal(logits.argmax(1), expected[other, i].argmax(1))
            for other in range(len(generations))
        )
        for (g, i), logits in expected.items()
    }
    results = rig.results.of_kind(FrameKind.RESULT)
    assert [header.sequence for header, _ in results] == list(range(len(results))), "in order"
    ends = [first for first, _ in began[1:]] + [len(results)]
    compared = distinct = 0
    for (first, generation), end in zip(began, ends, strict=True):
        for sequence in range(first, end):
            header, payload = results[sequence]
            logits = expected[generation, (sequence - first) % len(images)]
            assert header.generation == generation
            predictions = torch.from_numpy(np.frombuffer(payload, np.int64).copy())
            best = logits.topk(2).values
            clear = best[:, 0] - best[:, 1] > 0.02  # not decided by the rounding of a level
            assert torch.equal(predictions[clear], logits.argmax(1)[clear]), (sequence, generation)
            compared += int(clear.sum())
            distinct += told_apart[generation, (sequence - first) % len(images)]
    total = sum(len(payload) // 8 for _, payload in results)
    assert len(began) == SWITCHES + 1 and compared > 0.9 * total
    assert distinct > 2 * len(results), "a frame under another generation would have been seen"


@pytest.mark.real_clock
@pytest.mark.parametrize("window", [1, WINDOW])
def test_no_frame_waits_for_a_switch_to_a_resident_rung(
    zygote: Zygote, tmp_path: Path, window: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between rungs that take equally long, so that only the switch can make a frame late; at given
    frames, for a given moment would more often lie in one of the machine's own pauses. What a
    switch adds is printed; the bound is a millisecond and what noise makes of it."""
    with pipeline(
        zygote, tmp_path, batch=BATCH, window=window, codecs=ALL_CODECS, fringe=RESNET.fringe_layers
    ) as rig:
        resident(rig.model, RESNET).loaded_into(rig)
        for client in rig.clients:
            client.prepare(1, (Rung(width=7), Rung(width=9)))
            client.prepare(2, (Rung(width=8), Rung(width=10)))
        rig.start()
        source, switches = rig.clients[0], []
        for number in range(SWITCHES // 2):
            switches.append(source.activate(1 + number % 2, "validation").first_sequence)
            source.results(1 + number % 2, APART * BATCH)
        source.drain()
        rig.stop(zygote)
    to_parquet(tmp_path)
    frames = Served.of(tmp_path, switches)
    added_ms, error_ms = frames.added_ms(window)
    with capsys.disabled():
        print(f"\na switch, {window} in flight, adds {added_ms:+.2f} ms, +- {error_ms:.2f}")
    assert added_ms < 1 + 3 * error_ms
    assert frames.pauses() == []


@dataclass(frozen=True)
class Served:
    """Every frame of a run, in order, and which are the first of their generations."""

    admitted_ms: Floats
    result_ms: Floats
    first: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, folder: Path, switches: list[int]) -> "Served":
        results = polars.read_parquet(folder / "results.parquet").sort("sequence")
        first = np.zeros(len(results), bool)
        first[[sequence for sequence in switches if 0 < sequence < len(results)]] = True
        times = (results[name].to_numpy() / 1e6 for name in ("t_admitted_ns", "t_result_ns"))
        return cls(*times, first)

    @property
    def latency_ms(self) -> Floats:
        return self.result_ms - self.admitted_ms

    def pauses(self) -> list[str]:
        """What happens more often at switches than between them, where nothing waits for anything.

        A busy machine holds up frames wherever they are: those between switches say how often.
        """
        frame_ms = float(np.median(self.latency_ms[~self.first]))
        gap_ms = np.diff(self.result_ms, prepend=self.admitted_ms[0])
        before = np.concatenate([[np.inf], self.result_ms[:-1]])
        signs = {
            "no results for longer than a frame is under way": gap_ms > frame_ms,
            "under way for twice as long as a frame is": self.latency_ms > 2 * frame_ms,
            "the pipeline was empty": before <= self.admitted_ms,
        }
        return [sign for sign, seen in signs.items() if self._more_often_at_switches(seen)]

    def _more_often_at_switches(self, seen: npt.NDArray[np.bool_]) -> bool:
        """Beyond four standard deviations of as many draws from elsewhere, and three more."""
        count, share = int(self.first.sum()), float(seen[~self.first].mean())
        allowed = count * share + 4 * math.sqrt(count * share * (1 - share)) + 3
        return int(seen[self.first].sum()) > allowed

    def added_ms(self, window: int) -> tuple[float, float]:
        """Latency of the first frame of a generation, less that of a frame in the middle of its
        generation and of the one before (mean of their medians): median over the switches, and the
        standard error of that (from the median deviation)."""
        (first,) = np.nonzero(self.first[: -window - APART])
        near = np.arange(window, APART)  # has its own generation alone in flight with it
        away = [
            np.median(self.latency_ms[first[1:, None] + side], axis=1) for side in (near, -near)
        ]
        added = self.latency_ms[first[1:]] - np.mean(away, axis=0)
        spread = 1.4826 * float(np.median(np.abs(added - np.median(added))))
        return float(np.median(added)), 1.2533 * spread / math.sqrt(len(added))


def served(pause_ms: float, every: int, empty: bool = False) -> Served:
    """Frames every 3 ms, each 12 ms under way; every tenth is the first of a generation. Some of
    those wait, and every frame behind them, at the source (``empty``) or in a stage."""
    count = 2000
    first = np.arange(count) % 10 == 9
    slow = np.arange(count) % (10 * every) == 9
    result_ms = 12 + 3.0 * np.arange(count) + pause_ms * np.cumsum(slow)
    admitted_ms = np.concatenate([3.0 * np.arange(WINDOW), result_ms[:-WINDOW]])
    if empty:
        admitted_ms[slow] = np.concatenate([[0.0], result_ms[:-1]])[slow]
    return Served(admitted_ms, result_ms, first)


def test_a_pause_at_few_of_the_switches_is_seen() -> None:
    assert served(0, every=1).pauses() == []
    assert served(1.5, every=1).added_ms(WINDOW)[0] == 1.5
    assert served(100, every=100).pauses() == [], "two of 200: the machine"
    assert "no results for longer" in served(100, every=25).pauses()[0]
    assert "the pipeline was empty" in served(0, every=25, empty=True).pauses()


@pytest.mark.parametrize(
    ("rung", "reason"),
    [
        (Rung(bits=8), "codec int8 is not in the contract"),
        (Rung(module="other"), "module 'other' of cut 0 is not here"),
        (Rung(width=4), "the encoder of cut 0 was not loaded"),
    ],
)
def test_a_rung_whose_parts_are_not_resident_is_refused(
    zygote: Zygote, tmp_path: Path, rung: Rung, reason: str
) -> None:
    with pipeline(zygote, tmp_path) as rig, pytest.raises(RefusedError, match=reason):
        rig.clients[0].prepare(1, (rung, UNCOMPRESSED))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"layers": ("stem",)}, "stem is no fringe layer"),
        ({"bottleneck": SPEC.model_copy(update={"in_shape": (16, 8, 8)})}, r"cut 0 is \(8, 8, 8\)"),
        ({"bottleneck": SPEC.model_copy(update={"channels": 99})}, "more elements than"),
    ],
)
def test_a_module_that_does_not_fit_or_touches_a_frozen_layer_is_refused(
    changes: dict[str, object], reason: str
) -> None:
    contract = ActivationContract(cut=0, shape=(8, 8, 8), max_batch=1)
    side = Residents(contract, "encoder", MODEL, fringe=("block1_0",))
    request = LoadModule(cut=0, side="encoder", module="m", bottleneck=SPEC)
    with pytest.raises(BadModelError, match=reason):
        side.module_bytes(request.model_copy(update=changes))
