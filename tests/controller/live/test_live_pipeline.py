"""The whole loop on three stage processes that talk over real TCP (loopback, unshaped)."""

import contextlib
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from controller.ladder.builder import build_ladder
from controller.ladder.cache import BuiltLadder, ensure_ladder
from controller.ladder.ladder import LadderTable
from controller.live.plan import PipelinePlan
from controller.split.partition import split_after
from stage_node.data import Split, load_dataset
from stage_node.models import ChainModel, ModelSpec, build_model, save_checkpoint
from stage_node.processes.zygote import Zygote
from stage_node.records.events import (
    Event,
    FrozenHash,
    Iteration,
    LoopEnded,
    Measurement,
    RungChosen,
    read_events,
)
from stage_node.wire.codecs import Codec, Coding
from stage_node.wire.frame import HEADER_BYTES

HOSTS = ("ue", "edge", "cloud")
CUTS = ("block1_0", "block2_0")
BATCH = 16
CALIBRATION_IMAGES = 512

E = TypeVar("E", bound=Event)


@pytest.fixture(scope="module")
def model() -> ChainModel:
    """A small ResNet that knows its digits after two seconds of training."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    spec = ModelSpec(depth=8, width=8, classes=10, in_channels=1, image_size=8)
    model, train = build_model(spec), load_dataset("digits").train
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(8):
        order = torch.randperm(len(train))
        for begin in range(0, len(train), 64):
            batch = order[begin : begin + 64]
            optimizer.zero_grad()
            F.cross_entropy(model(train.images[batch]), train.labels[batch]).backward()
            optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote.start(["stage_node.fringe.stage", "controller.process"]) as zygote:
        yield zygote


@dataclass(frozen=True)
class Run:
    """What a run left behind."""

    statuses: dict[str, int]
    log: str
    events: tuple[Event, ...]
    directory: Path
    plan: PipelinePlan

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as open_together:
        sockets = [open_together.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def run(
    zygote: Zygote,
    model: ChainModel,
    directory: Path,
    targets: dict[str, Any],
    prepared: bool = False,
    **changes: Any,
) -> Run:
    checkpoint, events = directory / "model.safetensors", directory / "events.jsonl"
    save_checkpoint(checkpoint, model)
    results_port, *ports = free_ports(1 + 2 * len(HOSTS))
    stages: list[dict[str, Any]] = [
        {
            "name": host,
            "layers": layers,
            "control_ip": "127.0.0.1",
            "control_port": ports[2 * i],
            "listen_ip": "127.0.0.1" if i else None,
            "data_port": ports[2 * i + 1],
        }
        for i, (host, layers) in enumerate(
            zip(HOSTS, split_after(model.layer_names, CUTS).stages, strict=True)
        )
    ]
    plan = {
        "checkpoint": str(checkpoint),
        "dataset": "digits",
        "stages": stages,
        "results_port": results_port,
        "batch": BATCH,
        "window": 4,
        "calibration_images": CALIBRATION_IMAGES,
        "measured_images": 300,
        "targets": targets,
        **changes,
    }
    if prepared:
        request = PipelinePlan.model_validate(plan).ladder_request
        plan["ladder"] = str(ensure_ladder(request, build_ladder, directory / "cache"))
    pids = {
        stage["name"]: zygote.spawn(
            stage["name"],
            "stage_node.fringe.stage:main",
            {
                "configuration": {
                    "name": stage["name"],
                    "control_ip": stage["control_ip"],
                    "control_port": stage["control_port"],
                    "ledger_dir": str(directory),
                    "events_path": str(events),
                }
            },
            log_path=directory / "log",
        )
        for stage in stages
    }
    pids["controller"] = zygote.spawn(
        "controller",
        "controller.process:main",
        {
            "configuration": {
                "plan": plan,
                "events_path": str(events),
                "table_path": str(directory / "ladder.json"),
            }
        },
        log_path=directory / "log",
    )
    statuses = {name: zygote.wait(pid, timeout_s=120) for name, pid in pids.items()}
    return Run(
        statuses,
        (directory / "log").read_text(),
        tuple(read_events(events)),
        directory,
        PipelinePlan.model_validate(plan),
    )


@torch.inference_mode()
def single_process(
    model: ChainModel, names: Sequence[str], built: BuiltLadder, split: Split
) -> tuple[int, list[float]]:
    """The oracle: the same rungs in one process, without stages, frames or sockets.

    Correct predictions, and bytes per inference of every cut.
    """
    correct, sent = 0, [0, 0]
    stages = split_after(model.layer_names, CUTS).stages
    for images, labels in zip(split.images.split(BATCH), split.labels.split(BATCH), strict=True):
        x = images
        for number, layers in enumerate(stages):
            x = model.segment(layers)(x)
            if number < len(CUTS):
                x, size = across(x, names[number], built, number)
                sent[number] += HEADER_BYTES + size
        correct += int((x.argmax(1) == labels).sum())
    return correct, [size / len(split) for size in sent]


def across(x: Tensor, name: str, built: BuiltLadder, number: int) -> tuple[Tensor, int]:
    """An activation encoded and decoded, written down independently of the stages' halves."""
    rung = next(r.rung for r in built.table.ladders[number].rungs if r.name == name)
    cut, width = built.cuts[number], rung.width
    z = x
    if width is not None:
        basis = cut.basis[:, :width]
        z = ((x.movedim(1, -1) - cut.mean) @ basis).movedim(-1, 1).contiguous()
    coding = Coding(Codec.of(rung), tuple(z.shape[1:]), rung.keep, cut.ranges_of(width, rung.bits))
    payload = coding.encode(z)
    z = coding.decode(memoryview(bytearray(payload)), tuple(z.shape))
    if width is not None:
        z = (z.movedim(1, -1) @ basis.T + cut.mean).movedim(-1, 1)
    return z, len(payload)


@pytest.mark.parametrize(
    ("mechanisms", "reduction", "prepared"),
    [(["width"], 1.5, False), (["width", "sparse", "quantise", "zstd"], 8.0, True)],
)
def test_a_target_within_reach_is_met_and_every_figure_is_that_of_the_model_itself(
    zygote: Zygote,
    model: ChainModel,
    tmp_path: Path,
    mechanisms: list[str],
    reduction: float,
    prepared: bool,
) -> None:
    done = run(
        zygote,
        model,
        tmp_path,
        {"max_accuracy_loss_points": 5, "bandwidth_reduction": reduction, "mechanisms": mechanisms},
        prepared=prepared,
    )
    assert done.statuses == dict.fromkeys([*HOSTS, "controller"], 0), done.log
    dataset = load_dataset("digits")

    (ended,) = done.of(LoopEnded)
    assert ended.reached, ended.reason
    iterations = done.of(Iteration)
    assert [i.index for i in iterations] == list(range(len(iterations)))
    assert iterations[0].outcome == "baseline" and iterations[-1].outcome == "target met"
    floor = iterations[0].accuracy - 0.05
    table = LadderTable.from_json((done.directory / "ladder.json").read_text())
    request = done.plan.ladder_request
    built = build_ladder(request)
    assert table.key == built.table.key == request.key
    for iteration in iterations:
        correct, sent = single_process(model, iteration.rungs, built, dataset.validation)
        # Another order of summation may move an element to the next level, and with it an image.
        assert abs(round(iteration.accuracy * iteration.samples) - correct) <= 1
        assert iteration.samples == 300
        # Warm-up frames count in the traffic and may include the short last frame of a cycle.
        assert iteration.bytes_per_inference == pytest.approx(sent, rel=0.03)
        assert (iteration.accuracy < floor - 1e-9) == (iteration.outcome == "rolled back")

    before, after = done.of(Measurement)
    assert (before.label, before.rungs) == ("before", ("uncompressed", "uncompressed"))
    assert (after.label, after.rungs) == ("after", ended.rungs)
    for measured in (before, after):
        correct, _ = single_process(model, measured.rungs, built, dataset.test)
        assert measured.split == "test"
        assert abs(round(measured.accuracy * 300) - correct) <= 1
        assert measured.begin_ns < measured.end_ns

    (frozen,) = done.of(FrozenHash)
    assert frozen.before == frozen.after
    assert [ladder.after for ladder in table.ladders] == list(CUTS)


def test_a_target_out_of_reach_ends_at_the_floor_and_says_so(
    zygote: Zygote, model: ChainModel, tmp_path: Path
) -> None:
    done = run(
        zygote,
        model,
        tmp_path,
        {"max_accuracy_loss_points": 1, "bandwidth_reduction": 7},
    )
    assert done.statuses["controller"] == 0, done.log
    (ended,) = done.of(LoopEnded)
    assert not ended.reached
    assert ended.reason.startswith("not reached, closest was ")
    iterations = done.of(Iteration)
    assert "rolled back" in {i.outcome for i in iterations}
    (best,) = [i for i in iterations if i.generation == ended.generation]
    assert best.accuracy >= iterations[0].accuracy - 0.01 - 1e-9
    assert done.of(Measurement)[1].rungs == best.rungs


def test_a_floor_above_the_model_fails_before_anything_is_compressed(
    zygote: Zygote, model: ChainModel, tmp_path: Path
) -> None:
    done = run(zygote, model, tmp_path, {"min_accuracy": 0.999, "bandwidth_reduction": 2})
    assert done.statuses == {"controller": 2, "ue": 0, "edge": 0, "cloud": 0}
    assert (
        done.log.strip()
        .splitlines()[-1]
        .startswith("controller: min_accuracy: the uncompressed model reaches only 0.9")
    )
    assert not done.of(Iteration)


def test_automatic_control_finds_the_rungs_that_keep_the_bound(
    zygote: Zygote, model: ChainModel, tmp_path: Path
) -> None:
    """Over loopback everything fits a generous bound, and nothing an impossible one."""
    chosen = {}
    for name, bound_ms in (("generous", 10_000.0), ("impossible", 0.001)):
        directory = tmp_path / name
        directory.mkdir()
        done = run(
            zygote,
            model,
            directory,
            {"max_accuracy_loss_points": 5, "bandwidth_reduction": 1.5},
            control={"bound_ms": bound_ms, "duration_s": 4, "interval_s": 0.1},
        )
        assert set(done.statuses.values()) == {0}, done.log
        chosen[name] = done.of(RungChosen)
        (frozen,) = done.of(FrozenHash)
        assert frozen.before == frozen.after
        assert not done.of(LoopEnded)
    accuracies = [choice.accuracy for choice in chosen["generous"]]
    assert len(accuracies) > 1 and accuracies == sorted(accuracies), "it only climbs"
    assert all(choice.forecast_ms <= choice.bound_ms for choice in chosen["generous"][1:])
    assert len(chosen["impossible"]) == 1, "it begins at the strongest and stays there"
