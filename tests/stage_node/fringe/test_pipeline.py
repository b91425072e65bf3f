"""Three stages as real processes: what comes out is what the whole model computes."""

import os
import random
import signal
import socket
import time
from pathlib import Path

import numpy as np
import polars
import pytest
import torch
from torch import Tensor

from stage_node.data import SplitName, load_dataset
from stage_node.errors import RefusedError, StageNodeError
from stage_node.models import ChainModel
from stage_node.models.frozen import frozen_sha256
from stage_node.processes.zygote import Zygote
from stage_node.records.events import Message, read_events
from stage_node.records.ledger import to_parquet
from stage_node.wire.channel import Channel
from stage_node.wire.codecs import plain
from stage_node.wire.contract import HELLO_LIMITS, ActivationContract, Hello
from stage_node.wire.frame import HEADER_BYTES, FrameKind, Header
from tests.stage_node.fringe.rig import LOOPBACK, STAGES, pipeline, random_cut, rungs_of

BATCH = 8


digits = load_dataset("digits")


def batches(split: SplitName, count: int) -> list[Tensor]:
    """The frames that the source cuts a split into, cycle after cycle."""
    cycle = digits.split(split).images.split(BATCH)
    return [cycle[index % len(cycle)] for index in range(count)]


def ledger(folder: Path, table: str) -> polars.DataFrame:
    to_parquet(folder)
    return polars.read_parquet(folder / f"{table}.parquet")


@torch.inference_mode()
def activations(model: ChainModel, x: Tensor, last_layer: str) -> Tensor:
    names = model.layer_names
    output: Tensor = model.segment(names[: names.index(last_layer) + 1])(x)
    return output


@torch.inference_mode()
def logits(
    model: ChainModel, x: Tensor, widths: tuple[int | None, ...], cuts: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """The whole model in one process, its cuts narrowed by plain algebra."""
    for stage, layers in enumerate(STAGES):
        x = model.segment(layers)(x)
        width = widths[stage] if stage < len(widths) else None
        if width is not None:
            basis, mean = cuts[stage]
            projector = basis[:, :width] @ basis[:, :width].T
            centred = x - mean.view(1, -1, 1, 1)
            x = torch.einsum("dc,nchw->ndhw", projector, centred) + mean.view(1, -1, 1, 1)
    return x


@torch.inference_mode()
def whole_model(model: ChainModel, images: Tensor) -> Tensor:
    """Predicted classes."""
    return model(images).argmax(1)


def test_uncompressed_stages_are_bit_identical_to_the_whole_model(
    zygote: Zygote, tmp_path: Path
) -> None:
    with pipeline(zygote, tmp_path) as rig:
        rig.start()
        reply = rig.clients[0].results(0, 300)
        assert (reply.samples, reply.frames) == (300, 38)
        rig.clients[0].drain()
        assert rig.stop(zygote) == [0, 0, 0]
    for proxy, layers in zip(rig.data, STAGES, strict=False):
        frames = proxy.of_kind(FrameKind.ACTIVATION)
        assert len(frames) >= 38
        for (header, payload), images in zip(
            frames, batches("validation", len(frames)), strict=True
        ):
            expected = activations(rig.model, images, layers[-1])
            assert header.shape == tuple(expected.shape)
            assert payload == plain(tuple(expected.shape[1:])).encode(expected)
    results = rig.results.of_kind(FrameKind.RESULT)
    for (_, payload), images in zip(results, batches("validation", len(results)), strict=True):
        predictions = np.frombuffer(payload, np.int64)
        assert predictions.tolist() == whole_model(rig.model, images).tolist()
    right = whole_model(rig.model, digits.validation.images) == digits.validation.labels
    assert reply.correct == int(right.sum())


def test_thirty_switches_under_load_and_no_result_of_mismatched_halves(
    zygote: Zygote, tmp_path: Path
) -> None:
    choose = random.Random(7)
    with pipeline(zygote, tmp_path) as rig:
        channels = [rig.model.shapes()[layers[-1]][1] for layers in STAGES[:-1]]
        cuts = [random_cut(count, seed) for seed, count in enumerate(channels)]
        for cut, (basis, mean) in enumerate(cuts):
            rig.clients[cut].load_cut(cut, "encoder", {"basis": basis, "mean": mean})
            rig.clients[cut + 1].load_cut(cut, "decoder", {"basis": basis, "mean": mean})
        rig.start()
        meaning: dict[int, tuple[int | None, ...]] = {0: (None, None)}
        activations: list[tuple[int, int, SplitName]] = [(0, 0, "validation")]
        for generation in range(1, 31):
            widths = tuple(choose.choice([None, *range(1, count + 1)]) for count in channels)
            meaning[generation] = widths
            split: SplitName = choose.choice(["validation", "test"])
            rig.prepare(generation, widths)
            active = rig.clients[0].activate(generation, split)
            activations.append((active.first_sequence, generation, split))
            assert rig.clients[0].results(generation, 2 * BATCH, skip=1).samples >= 2 * BATCH
        rig.clients[0].drain()
        traffic = rig.clients[0].traffic()
        assert rig.stop(zygote) == [0, 0, 0]
    results = rig.results.of_kind(FrameKind.RESULT)
    assert [header.sequence for header, _ in results] == list(range(len(results)))
    ends = [first for first, *_ in activations[1:]] + [len(results)]
    compared = changed = 0
    for (first, generation, split), end in zip(activations, ends, strict=True):
        for (header, payload), images in zip(
            results[first:end], batches(split, end - first), strict=True
        ):
            assert header.generation == generation
            predictions = torch.from_numpy(np.frombuffer(payload, np.int64).copy())
            expected = logits(rig.model, images, meaning[generation], cuts)
            best = expected.topk(2).values
            clear = best[:, 0] - best[:, 1] > 1e-3  # not decided by rounding
            assert torch.equal(predictions[clear], expected.argmax(1)[clear])
            compared += int(clear.sum())
            changed += int((expected.argmax(1) != whole_model(rig.model, images)).sum())
    total = sum(len(payload) // 8 for _, payload in results)
    assert compared > 0.98 * total
    assert changed > 0.1 * total, "generations differ, so a mix-up would have been seen"
    assert set(traffic.generations) == set(meaning)
    assert sum(sent.frames for sent in traffic.generations.values()) == len(results)


def test_the_ledger_agrees_with_whoever_counts_bytes_on_the_wire(
    zygote: Zygote, tmp_path: Path
) -> None:
    with pipeline(zygote, tmp_path) as rig:
        rig.start()
        rig.clients[0].results(0, 160)
        rig.clients[0].drain()
        traffic = rig.clients[0].traffic().generations[0]
        assert rig.stop(zygote) == [0, 0, 0]
    frames = ledger(tmp_path, "frames")
    for cut, (proxy, sender, receiver) in enumerate(
        zip(rig.data, ("ue", "edge"), ("edge", "cloud"), strict=True)
    ):
        seen = [
            (first, first + HEADER_BYTES + header.payload_bytes, header.kind.name.lower())
            for first, header, _ in proxy.frames()
        ]
        for node, peer, direction in ((sender, receiver, "send"), (receiver, sender, "recv")):
            rows = frames.filter(node=node, peer=peer, direction=direction, cut=cut)
            assert rows.select("first_byte", "end_byte", "kind").rows() == seen
            assert rows["end_byte"][-1] == len(proxy.sent)
            assert rows["kind"].to_list()[0 :: len(rows) - 1] == ["hello", "end"]
            times = rows.select("t_begin_ns", "t_end_ns").to_numpy().ravel()
            assert (np.diff(times) >= 0).all()
    sent = frames.filter(node="ue", direction="send", kind="activation")
    assert traffic.frames == len(sent)
    assert traffic.samples == sent["samples"].sum()
    assert traffic.sent_bytes == (sent["end_byte"] - sent["first_byte"]).sum()
    computed = polars.read_parquet(tmp_path / "compute.parquet")
    for node in ("ue", "edge", "cloud"):
        rows = computed.filter(node=node)
        assert rows["sequence"].to_list() == list(range(traffic.frames))
        times = rows.select("t_free_ns", "t_begin_ns", "t_end_ns").to_numpy().ravel()
        assert (np.diff(times) >= 0).all()


@pytest.mark.parametrize("window", [1, 3])
def test_no_more_than_the_window_is_in_flight(zygote: Zygote, tmp_path: Path, window: int) -> None:
    with pipeline(zygote, tmp_path, window=window) as rig:
        rig.start()
        rig.clients[0].results(0, 240)
        rig.clients[0].drain()
        rig.stop(zygote)
    results = ledger(tmp_path, "results")
    moments = sorted(
        [(t, 1) for t in results["t_admitted_ns"]] + [(t, -1) for t in results["t_result_ns"]]
    )
    assert np.cumsum([step for _, step in moments]).max() == window


def test_one_stage_alone_is_a_pipeline_too(zygote: Zygote, tmp_path: Path) -> None:
    names = tuple(name for layers in STAGES for name in layers)
    with pipeline(zygote, tmp_path, stages=[names]) as rig:
        rig.start()
        assert rig.clients[0].results(0, 300).samples == 300
        with pytest.raises(RefusedError, match="no connection to a downstream stage"):
            rig.clients[0].traffic()
        rig.clients[0].drain()
        assert rig.stop(zygote) == [0]


def test_the_frozen_tensors_are_hashed_without_the_fringe(zygote: Zygote, tmp_path: Path) -> None:
    fringe: dict[int, dict[str, object]] = {0: {"fringe": ("block1_0",)}}
    with pipeline(zygote, tmp_path, changes=fringe) as rig:
        own = rig.model.segment(STAGES[0]).state_dict()
        stem = rig.model.segment(["stem"]).state_dict()
        assert rig.clients[0].frozen_hash() == frozen_sha256(stem)
        changed = {name: t + 1 if "block1_0" in name else t for name, t in own.items()}
        assert rig.clients[0].load_layers(changed) == frozen_sha256(stem)
        changed = {name: t + 1 if "stem" in name else t for name, t in own.items()}
        assert rig.clients[0].load_layers(changed) != frozen_sha256(stem)


def test_what_makes_no_sense_is_refused_and_harms_nothing(zygote: Zygote, tmp_path: Path) -> None:
    basis, mean = random_cut(8, 0)
    with pipeline(zygote, tmp_path) as rig:
        ue, edge, _ = rig.clients
        for request, reason in (
            (lambda: ue.prepare(1, rungs_of([None])), "1 rungs for 2 cuts"),
            (lambda: ue.prepare(1, rungs_of([4, None])), "the encoder of cut 0 was not loaded"),
            (
                lambda: ue.load_cut(0, "encoder", {"basis": basis[:, :3], "mean": mean}),
                "a cut of 8 channels has",
            ),
            (lambda: ue.load_layers({"layers.stem.x": mean}), "weights do not fit"),
            (lambda: ue.activate(0, "test"), "not started"),
            (lambda: ue.traffic(), "no connection to a downstream stage"),
            (lambda: edge.drain(), "only stage 0 has the source"),
            (lambda: edge.results(0, 1), "only stage 0 has the source"),
        ):
            with pytest.raises(RefusedError, match=reason):
                request()
        ue.load_cut(0, "encoder", {"basis": basis, "mean": mean})
        with pytest.raises(RefusedError, match="1 to 8 channels, not 9"):
            ue.prepare(1, rungs_of([9, None]))
        ue.prepare(1, rungs_of([4, None]))
        ue.prepare(1, rungs_of([4, None]))
        with pytest.raises(RefusedError, match="generation 1 already means"):
            ue.prepare(1, rungs_of([5, None]))
        rig.start()
        assert ue.results(0, 8).samples == 8
        for request, reason in (
            (lambda: ue.start(), "already started"),
            (lambda: ue.results(1, 8), "generation 1 is not active"),
            (lambda: ue.activate(2, "test"), "generation 2 was not prepared"),
        ):
            with pytest.raises(RefusedError, match=reason):
                request()
        ue.drain()
        assert rig.stop(zygote) == [0, 0, 0]


def test_weights_for_a_cut_elsewhere_are_not_even_read(zygote: Zygote, tmp_path: Path) -> None:
    basis, mean = random_cut(8, 0)
    with pipeline(zygote, tmp_path) as rig:
        with pytest.raises(StageNodeError):
            rig.clients[0].load_cut(1, "encoder", {"basis": basis, "mean": mean})
        assert ends_badly(zygote, rig.pids[0])
        assert rig.log("ue") == "ue: controller: this stage has no encoder of cut 1\n"


def test_a_stage_whose_layers_do_not_fit_its_contract_is_refused(
    zygote: Zygote, tmp_path: Path
) -> None:
    wrong = ActivationContract(cut=0, shape=(8, 4, 4), max_batch=BATCH)
    with (
        pytest.raises(RefusedError, match=r"contract of \(8, 4, 4\), layers of \(8, 8, 8\)"),
        pipeline(zygote, tmp_path, changes={0: {"downstream": wrong}}),
    ):
        pass


def ends_badly(zygote: Zygote, pid: int) -> bool:
    return zygote.wait(pid, 10) not in (0, -9)


def test_stages_of_different_models_refuse_each_other(zygote: Zygote, tmp_path: Path) -> None:
    with pipeline(zygote, tmp_path, changes={1: {"model_hash": "beef"}}) as rig:
        with pytest.raises(RefusedError, match="model_hash: beef here, cafe there"):
            rig.start()
        assert ends_badly(zygote, rig.pids[1])
        assert "edge and cloud do not agree: model_hash" in rig.log("edge")


def test_a_wrong_contract_is_named(zygote: Zygote, tmp_path: Path) -> None:
    with pipeline(zygote, tmp_path) as rig:
        rig.clients[2].start()
        rig.clients[1].start()
        with socket.create_connection((LOOPBACK, rig.data[0].target)) as impostor:
            channel = Channel(impostor, HELLO_LIMITS)
            edge = next(iter(rig.data[1].of_kind(FrameKind.HELLO)))
            theirs = Hello.from_payload(edge[1])
            forged = theirs.model_copy(update={"name": "mallory", "sender_stage": 7})
            payload = forged.to_payload()
            channel.send(Header(kind=FrameKind.HELLO, payload_bytes=len(payload)), payload)
            assert ends_badly(zygote, rig.pids[1])
        log = rig.log("edge")
        assert "edge and mallory do not agree" in log and "sender_stage: 0 here, 7 there" in log
        assert len(log.splitlines()) == 1


def test_a_stranger_on_the_data_port_ends_the_stage_with_one_line(
    zygote: Zygote, tmp_path: Path
) -> None:
    with pipeline(zygote, tmp_path) as rig:
        with socket.create_connection((LOOPBACK, rig.data[0].target)) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n" + b"\r\n" * 40)
            assert ends_badly(zygote, rig.pids[1])
        assert rig.log("edge") == (
            "edge: upstream: not a frame of this protocol: it begins with b'GET '\n"
        )
        with pytest.raises(StageNodeError):
            rig.clients[1].start()


def test_an_unprepared_generation_is_an_error_never_a_guess(zygote: Zygote, tmp_path: Path) -> None:
    with pipeline(zygote, tmp_path) as rig:
        rig.start()
        rig.clients[0].prepare(1, rungs_of([None, None]))
        rig.clients[0].activate(1, "test")
        with pytest.raises(StageNodeError):
            rig.clients[0].results(1, 8, timeout_s=10)
        assert all(ends_badly(zygote, pid) for pid in rig.pids)
        assert "generation 1 was not prepared" in rig.log("edge")


def test_when_a_stage_dies_the_others_end_and_the_controller_knows(
    zygote: Zygote, tmp_path: Path
) -> None:
    with pipeline(zygote, tmp_path) as rig:
        rig.start()
        rig.clients[0].results(0, 80)
        zygote.signal(rig.pids[1], 9)
        begin = time.monotonic()
        with pytest.raises(StageNodeError, match="stage ue"):
            rig.clients[0].results(0, 10**6, timeout_s=10)
        assert ends_badly(zygote, rig.pids[0]) and ends_badly(zygote, rig.pids[2])
        assert time.monotonic() - begin < 5
        for name in ("ue", "cloud"):
            assert len(rig.log(name).splitlines()) == 1, rig.log(name)
    frames = ledger(tmp_path, "frames")
    assert set(frames["node"]) == {"ue", "cloud"}, "those who could saved their ledgers"
    said = [
        event.text for event in read_events(tmp_path / "events.jsonl") if isinstance(event, Message)
    ]
    assert any(text.startswith("stage ue: ") for text in said)


def test_when_the_controller_goes_away_the_stages_end(zygote: Zygote, tmp_path: Path) -> None:
    with pipeline(zygote, tmp_path) as rig:
        rig.start()
        rig.clients[0].results(0, 8)
    assert all(ends_badly(zygote, pid) for pid in rig.pids)


def test_sigterm_saves_the_ledger_whichever_thread_the_kernel_gives_it_to(
    zygote: Zygote, tmp_path: Path
) -> None:
    with pipeline(zygote, tmp_path) as rig:
        rig.start()
        rig.clients[0].results(0, 80)
        threads = [int(task.name) for task in Path(f"/proc/{rig.pids[0]}/task").iterdir()]
        os.kill(max(threads), signal.SIGTERM)  # the kernel prefers the thread that is named
        assert zygote.wait(rig.pids[0], 10) == 143
        assert all(ends_badly(zygote, pid) for pid in rig.pids[1:])
    assert len(ledger(tmp_path, "results")) >= 10
