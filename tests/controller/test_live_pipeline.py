"""The whole loop on three stage processes that talk over real TCP (loopback, unshaped)."""

import contextlib
import json
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from torch.nn import functional as F

from controller.basis import calibrate
from controller.partition import split_after
from controller.pipeline import Widths
from stage_node.data import Split, load_dataset
from stage_node.events import Event, FrozenHash, Iteration, LoopEnded, Measurement, read_events
from stage_node.models import ChainModel, ModelSpec, build_model, save_checkpoint
from stage_node.wire import HEADER_BYTES
from stage_node.zygote import Zygote

HOSTS = ("ue", "edge", "cloud")
CUTS = ("block1_0", "block2_0")
BATCH = 16
CALIBRATION_IMAGES = 512
PAYLOAD_BYTES = (8 * 8 * 8 * 4, 16 * 4 * 4 * 4)  # per image, uncompressed

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
    with Zygote.start(["stage_node.stage", "controller.main"]) as zygote:
        yield zygote


@dataclass(frozen=True)
class Run:
    """What a run left behind."""

    statuses: dict[str, int]
    log: str
    events: tuple[Event, ...]
    directory: Path

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as open_together:
        sockets = [open_together.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def run(zygote: Zygote, model: ChainModel, directory: Path, **targets: float) -> Run:
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
    }
    pids = {
        stage["name"]: zygote.spawn(
            stage["name"],
            "stage_node.stage:main",
            {
                "name": stage["name"],
                "control_ip": stage["control_ip"],
                "control_port": stage["control_port"],
                "ledger_dir": str(directory),
                "events_path": str(events),
            },
            log_path=directory / "log",
        )
        for stage in stages
    }
    pids["controller"] = zygote.spawn(
        "controller",
        "controller.main:run_pipeline",
        {"plan": plan, "events_path": str(events), "run_dir": str(directory)},
        log_path=directory / "log",
    )
    statuses = {name: zygote.wait(pid, timeout_s=120) for name, pid in pids.items()}
    return Run(statuses, (directory / "log").read_text(), tuple(read_events(events)), directory)


@torch.inference_mode()
def single_process_correct(model: ChainModel, widths: Widths, split: Split) -> int:
    """The oracle: the same cuts in one process, without stages, frames or sockets."""
    partition, train = split_after(model.layer_names, CUTS), load_dataset("digits").train
    bases = calibrate(model, partition, [train.images[:CALIBRATION_IMAGES]])
    x = split.images
    for layers, width, basis in zip(partition.stages, (*widths, None), (*bases, None), strict=True):
        x = model.segment(layers)(x)
        if width is not None and basis is not None:
            directions = basis.vectors[:, :width]
            pixels = x.movedim(1, -1) - basis.mean
            x = (pixels @ directions @ directions.T + basis.mean).movedim(-1, 1)
    return int((x.argmax(1) == split.labels).sum())


def bytes_per_inference(widths: Widths, samples: int) -> Sequence[float]:
    """Payload and headers of whole frames, as the wire format defines them."""
    headers = HEADER_BYTES * -(-samples // BATCH) / samples
    return [
        headers + uncompressed * (1 if width is None else width / channels)
        for uncompressed, width, channels in zip(PAYLOAD_BYTES, widths, (8, 16), strict=True)
    ]


def test_a_target_within_reach_is_met_and_every_figure_is_that_of_the_model_itself(
    zygote: Zygote, model: ChainModel, tmp_path: Path
) -> None:
    done = run(zygote, model, tmp_path, max_accuracy_loss_points=5, bandwidth_reduction=1.5)
    assert done.statuses == dict.fromkeys([*HOSTS, "controller"], 0), done.log
    dataset = load_dataset("digits")

    (ended,) = done.of(LoopEnded)
    assert ended.reached, ended.reason
    iterations = done.of(Iteration)
    assert [i.index for i in iterations] == list(range(len(iterations)))
    assert iterations[0].outcome == "baseline" and iterations[-1].outcome == "target met"
    floor = iterations[0].accuracy - 0.05
    for iteration in iterations:
        correct = single_process_correct(model, iteration.widths, dataset.validation)
        assert round(iteration.accuracy * iteration.samples) == correct
        assert iteration.samples == 300
        assert (iteration.accuracy < floor - 1e-9) == (iteration.outcome == "rolled back")
    # Warm-up frames count in the traffic and may include the short last frame of a cycle.
    for iteration in iterations:
        exact = bytes_per_inference(iteration.widths, iteration.samples)
        assert iteration.bytes_per_inference == pytest.approx(exact, abs=1.0)

    before, after = done.of(Measurement)
    assert (before.label, before.widths) == ("before", (None, None))
    assert (after.label, after.widths) == ("after", ended.widths)
    for measured in (before, after):
        correct = single_process_correct(model, measured.widths, dataset.test)
        assert (measured.split, round(measured.accuracy * 300)) == ("test", correct)
        assert measured.begin_ns < measured.end_ns

    (frozen,) = done.of(FrozenHash)
    assert frozen.before == frozen.after
    cuts = json.loads((done.directory / "ladder.json").read_text())["cuts"]
    assert [cut["after"] for cut in cuts] == list(CUTS)


def test_a_target_out_of_reach_ends_at_the_floor_and_says_so(
    zygote: Zygote, model: ChainModel, tmp_path: Path
) -> None:
    done = run(zygote, model, tmp_path, max_accuracy_loss_points=1, bandwidth_reduction=9)
    assert done.statuses["controller"] == 0, done.log
    (ended,) = done.of(LoopEnded)
    assert not ended.reached
    assert ended.reason.startswith("not reached, closest was ")
    iterations = done.of(Iteration)
    assert "rolled back" in {i.outcome for i in iterations}
    (best,) = [i for i in iterations if i.generation == ended.generation]
    assert best.accuracy >= iterations[0].accuracy - 0.01 - 1e-9
    assert done.of(Measurement)[1].widths == best.widths


def test_a_floor_above_the_model_fails_before_anything_is_compressed(
    zygote: Zygote, model: ChainModel, tmp_path: Path
) -> None:
    done = run(zygote, model, tmp_path, min_accuracy=0.999, bandwidth_reduction=2)
    assert done.statuses == {"controller": 2, "ue": 0, "edge": 0, "cloud": 0}
    assert (
        done.log.strip()
        .splitlines()[-1]
        .startswith("controller: min_accuracy: the uncompressed model reaches only 0.9")
    )
    assert not done.of(Iteration)
