"""Serving-time switching: two hundred switches under load, and not one inference out of place."""

import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars
import pytest
import torch
from torch import Tensor

from stage_node.bottleneck import Bottleneck, BottleneckSpec
from stage_node.codecs import ALL_CODECS, Codec, Coding, Ranges
from stage_node.contract import ActivationContract
from stage_node.cut import Cut
from stage_node.data import load_dataset
from stage_node.errors import BadModelError, RefusedError
from stage_node.ledger import to_parquet
from stage_node.messages import LoadModule, Side
from stage_node.models import ChainModel, Segment, build_model
from stage_node.residents import Residents
from stage_node.rung import QUANTISED, UNCOMPRESSED, Rung
from stage_node.wire import Kind
from stage_node.zygote import Zygote
from tests.stage_node.rig import SPEC as MODEL
from tests.stage_node.rig import STAGES, Rig, pipeline, random_cut

SWITCHES = 200
BATCH = 8
MODULE_CUT = 0
FRINGE = ("block1_0", "block2_0", "block3_0")
SPEC = BottleneckSpec(in_shape=(8, 8, 8), stride=2, channels=12, bits=4, hidden=8)


@dataclass(frozen=True)
class Resident:
    """What the stages hold beside the model, as the single process holds it too."""

    cuts: list[Cut]
    bottleneck: Bottleneck
    tuned: Segment

    def loaded_into(self, rig: Rig) -> None:
        for number, cut in enumerate(self.cuts):
            rig.clients[number].load_cut(number, "encoder", cut.tensors())
            rig.clients[number + 1].load_cut(number, "decoder", cut.tensors())
        sides: tuple[tuple[Side, tuple[str, ...]], ...] = (
            ("encoder", ()),
            ("decoder", FRINGE[1:2]),
        )
        for client, (side, layers) in zip(rig.clients, sides, strict=False):
            half = getattr(self.bottleneck, side).state_dict()
            tensors = {f"{side}.{name}": tensor for name, tensor in half.items()}
            tuned = self.tuned.state_dict() if layers else {}
            request = LoadModule(
                cut=MODULE_CUT, side=side, module="bottleneck", bottleneck=SPEC, layers=layers
            )
            client.load_module(request, {**tensors, **tuned})


def resident(model: ChainModel) -> Resident:
    """Bases, ranges and a bottleneck of random numbers: every mix-up would be seen."""
    x = load_dataset("digits").train.images[:64]
    cuts = []
    with torch.inference_mode():
        for number, layers in enumerate(STAGES[:-1]):
            x = model.segment(layers)(x)
            basis, mean = random_cut(x.shape[1], seed=number)
            vectors = x.movedim(1, -1).reshape(-1, x.shape[1]).clone()
            ends = [
                torch.stack([v.amin(0), v.amax(0)]) for v in (vectors, (vectors - mean) @ basis)
            ]
            plain, coordinates = (torch.stack([end] * len(QUANTISED)) for end in ends)
            cuts.append(Cut(basis, mean, plain, coordinates))
    torch.manual_seed(5)
    tuned = build_model(model.spec).eval().segment(FRINGE[1:2])
    return Resident(cuts, Bottleneck(SPEC).eval(), tuned)


@torch.inference_mode()
def single_process(model: ChainModel, x: Tensor, rungs: tuple[Rung, ...], held: Resident) -> Tensor:
    """Logits (N, classes) of the same generation, written without stages."""
    for number, layers in enumerate(STAGES):
        segment = model.segment(layers)
        if number == MODULE_CUT + 1 and rungs[MODULE_CUT].module:
            segment = held.tuned
        x = segment(x)
        if number < len(rungs):
            x = across(x, rungs[number], held, number)
    return x


def across(x: Tensor, rung: Rung, held: Resident, number: int) -> Tensor:
    cut, z = held.cuts[number], x
    ranges = cut.ranges_of(rung.width, rung.bits)
    if rung.module:
        z, ranges = held.bottleneck.encoder(x), Ranges(torch.zeros(12), torch.ones(12))
    elif rung.width:
        z = cut.encoder(rung.width)(x)
    coding = Coding(Codec.of(rung), tuple(z.shape[1:]), rung.keep, ranges)
    z = coding.decode(memoryview(bytearray(coding.encode(z))), tuple(z.shape))
    if rung.module:
        return held.bottleneck.decoder(z)
    return cut.decoder(rung.width)(z) if rung.width else z


GENERATIONS: tuple[tuple[Rung, ...], ...] = (
    (UNCOMPRESSED, UNCOMPRESSED),
    (Rung(width=5), Rung(width=9)),
    (Rung(bits=8), Rung(width=12, bits=6)),
    (Rung(module="bottleneck", bits=4), UNCOMPRESSED),
    (Rung(module="bottleneck", bits=4, zstd=True), Rung(bits=4, zstd=True)),
    (Rung(width=7, keep=0.5, bits=8), Rung(keep=0.25)),
    (Rung(zstd=True), Rung(width=3, keep=0.5, bits=2, zstd=True)),
    (Rung(width=2, bits=2), Rung(width=1, zstd=True)),
)


def test_two_hundred_switches_under_load_and_every_output_is_that_of_its_generation(
    zygote: Zygote, tmp_path: Path
) -> None:
    choose = random.Random(11)
    with pipeline(zygote, tmp_path, batch=BATCH, codecs=ALL_CODECS, fringe=FRINGE) as rig:
        held = resident(rig.model)
        held.loaded_into(rig)
        for number, rungs in enumerate(GENERATIONS):
            for client in rig.clients:
                client.prepare(number, rungs)
        frozen = [client.frozen_hash() for client in rig.clients]
        rig.start()
        source = rig.clients[0]
        source.results(0, 50 * BATCH)
        began = [(0, 0)]
        for _ in range(SWITCHES):
            generation = choose.randrange(len(GENERATIONS))
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
            for g, rungs in enumerate(GENERATIONS)
            for i, batch in enumerate(images)
        }
    told_apart = {
        (g, i): sum(
            not torch.equal(logits.argmax(1), expected[other, i].argmax(1))
            for other in range(len(GENERATIONS))
        )
        for (g, i), logits in expected.items()
    }
    results = rig.results.of_kind(Kind.RESULT)
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
    assert_no_pause(tmp_path, [first for first, _ in began[1:]])


def assert_no_pause(folder: Path, switches: list[int]) -> None:
    """Results do not stop coming for longer than a frame is under way, and the first frame of a
    generation is no longer under way than the others. Medians: a busy machine delays single
    frames, wherever they are.
    """
    to_parquet(folder)
    table = polars.read_parquet(folder / "results.parquet").sort("sequence")
    latency_ms = ((table["t_result_ns"] - table["t_admitted_ns"]) / 1e6).to_numpy()
    gap_ms = np.diff(table["t_result_ns"].to_numpy(), prepend=table["t_admitted_ns"][0]) / 1e6
    first = np.zeros(len(table), bool)
    first[[sequence for sequence in switches if sequence < len(table)]] = True
    frame_ms = float(np.median(latency_ms[~first]))
    assert np.median(gap_ms[first]) <= frame_ms
    assert np.median(latency_ms[first]) <= 2 * frame_ms


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
