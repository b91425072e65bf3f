"""Serving-time switching: two hundred switches under load, and not one inference out of place."""

import random
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from stage_node.data import load_dataset
from stage_node.errors import BadModelError, RefusedError
from stage_node.fringe.halves import Residents
from stage_node.fringe.messages import LoadModule
from stage_node.processes.zygote import Zygote
from stage_node.wire.codecs import ALL_CODECS
from stage_node.wire.contract import ActivationContract
from stage_node.wire.frame import FrameKind
from stage_node.wire.rung import UNCOMPRESSED, Rung
from tests.stage_node.fringe.rig import SPEC as MODEL
from tests.stage_node.fringe.rig import pipeline
from tests.stage_node.fringe.single_process import (
    CHAIN,
    RESNET,
    SPEC,
    Case,
    resident,
    single_process,
)

SWITCHES = 200
BATCH = 8
WINDOW = 4


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
