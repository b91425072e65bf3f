"""The controller's side of a pipeline, against stages that only keep a record."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from controller.errors import FrozenLayerChangedError
from controller.fringe.fringe import find_fringe
from controller.ladder.ladder import Ladder, LadderRung, LadderTable
from controller.ladder.work_cost import Cost
from controller.live import session
from controller.live.plan import PipelinePlan
from controller.live.session import (
    LivePipeline,
    configurations,
    connected,
    distribute,
    load_cuts,
    start,
)
from controller.process import main, whole_passes
from controller.split.partition import split_after
from stage_node.errors import RefusedError
from stage_node.fringe.cut import Cut
from stage_node.fringe.messages import (
    Ack,
    Activated,
    ArrivalsReply,
    Configure,
    GenerationArrivals,
    GenerationTraffic,
    ResultsReply,
    TrafficReply,
)
from stage_node.models import ChainModel, ModelSpec, build_model, save_checkpoint
from stage_node.models.frozen import frozen_sha256
from stage_node.processes.configuration import BadConfigurationError
from stage_node.records.events import Event, GenerationActivated, Progress
from stage_node.wire.rung import UNCOMPRESSED, Rung

RUNGS = (Rung.of(4, width=2), UNCOMPRESSED)
SPEC = ModelSpec(depth=8, width=4, classes=10, in_channels=1, image_size=8)


class RecordingStage:
    """A ``ControlClient`` whose stage only notes what it was told, in one log with the others."""

    def __init__(self, name: str, log: list[tuple[str, str]]) -> None:
        self.name = name
        self.log = log
        self.tensors: dict[str, Tensor] = {}
        self.configuration: Configure | None = None
        self.corrupts = False

    def _record(self, what: str) -> None:
        self.log.append((self.name, what))

    def configure(self, configuration: Configure) -> None:
        self._record("configure")
        self.configuration = configuration

    def load_layers(self, tensors: Mapping[str, Tensor]) -> str:
        self._record("load_layers")
        assert self.configuration is not None
        self.tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        if self.corrupts:
            next(iter(self.tensors.values())).view(-1)[0] += 1
        return frozen_sha256(self.tensors, self.configuration.fringe)

    def load_cut(
        self, cut: int, side: str, tensors: Mapping[str, Tensor], layers: tuple[str, ...]
    ) -> None:
        channels = len(tensors["mean"])
        self._record(f"{side} of cut {cut}, {channels} channels, of {', '.join(layers)}")

    def start(self) -> None:
        self._record("start")

    def prepare(self, generation: int, rungs: tuple[Rung, ...]) -> None:
        self._record(f"prepare {generation} {', '.join(rung.name for rung in rungs)}")

    def activate(self, generation: int, split: str, frame_ms: float, go_on: bool) -> Activated:
        assert (frame_ms, go_on) == (0.0, False), "the loop serves as fast as it goes"
        self._record(f"activate {generation} {split}")
        return Activated(t_ns=generation * 1000, first_sequence=generation * 100)

    def results(self, generation: int, count: int, skip: int) -> ResultsReply:
        self._record(f"results {generation} {count} {skip}")
        return ResultsReply(
            frames=count // 10,
            samples=count,
            correct=count - 3,
            latency_ms_median=5.0,
            latency_ms_p95=9.0,
            t_first_admitted_ns=1,
            t_last_admitted_ns=2,
            t_last_result_ns=3,
        )

    def traffic(self) -> TrafficReply:
        self._record("traffic")
        sent = GenerationTraffic(frames=10, samples=100, sent_bytes=50_000)
        return TrafficReply(generations={1: sent}, delivery_rate_mbit=2.0, rtt_ms=1.0)

    def arrivals(self) -> ArrivalsReply:
        self._record("arrivals")
        received = GenerationArrivals(frames=10, samples=100, transfer_ms_median=20.0)
        return ArrivalsReply(generations={1: received})

    def request(self, request: Any, _: type[Ack], timeout_s: float) -> None:
        self._record(request.type)
        if self.name == "edge":
            raise RefusedError("stage edge: out of order")

    def stop(self) -> None:
        self._record("stop")

    def __enter__(self) -> "RecordingStage":
        return self

    def __exit__(self, *_: object) -> None:
        self._record("closed")


@pytest.fixture
def model() -> ChainModel:
    torch.manual_seed(0)
    return build_model(SPEC).eval()


@pytest.fixture
def plan(model: ChainModel, tmp_path: Path) -> PipelinePlan:
    checkpoint = tmp_path / "model.safetensors"
    save_checkpoint(checkpoint, model)
    partition = split_after(model.layer_names, ["block1_0", "block2_0"])
    stages = [
        {
            "name": name,
            "layers": layers,
            "control_ip": f"10.1.0.{i}",
            "control_port": 4000,
            "listen_ip": f"10.0.{i}.2" if i else None,
        }
        for i, (name, layers) in enumerate(
            zip(["ue", "edge", "cloud"], partition.stages, strict=True)
        )
    ]
    return PipelinePlan.model_validate(
        {
            "checkpoint": checkpoint,
            "dataset": "digits",
            "stages": stages,
            "batch": 10,
            "window": 4,
            "calibration_images": 100,
            "measured_images": 300,
            "targets": {"max_accuracy_loss_points": 1, "bandwidth_reduction": 2},
        }
    )


def table(plan: PipelinePlan, model: ChainModel) -> LadderTable:
    """A ladder with one rung of 4 bits at every cut."""
    shapes = model.shapes()
    rungs = tuple(
        LadderRung(rung=rung, payload_bytes=size, accuracy=1)
        for rung, size in ((UNCOMPRESSED, 8), (Rung(name="int4", bits=4), 1))
    )
    return LadderTable(
        key="",
        dataset="digits",
        stages=plan.partition.stages,
        mechanisms=("quantise",),
        calibration_images=2,
        validation_images=1,
        batch=plan.batch,
        ladders=tuple(
            Ladder(after=cut, shape=shapes[cut][1:], considered=2, rungs=rungs)
            for cut in plan.partition.cuts
        ),
        cost=Cost(duration_s=0, cpu_s=0, peak_memory_mib=0),
    )


@pytest.fixture
def log() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def stages(log: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> list[RecordingStage]:
    known = {name: RecordingStage(name, log) for name in ("ue", "edge", "cloud")}
    monkeypatch.setattr(session, "ControlClient", lambda name, ip, port: known[name])
    return list(known.values())


def test_each_stage_learns_its_neighbours_and_the_contracts_match_pairwise(
    plan: PipelinePlan, model: ChainModel
) -> None:
    ue, edge, cloud = configurations(plan, model, table(plan, model))
    assert (ue.upstream, cloud.downstream) == (None, None)
    assert ue.downstream == edge.upstream
    assert edge.downstream == cloud.upstream
    assert ue.downstream is not None and ue.downstream.shape == (4, 8, 8)
    assert ue.downstream.max_batch == 10
    assert ue.downstream.codecs == ("fp32", "int4"), "those of the ladder and no others"
    assert (ue.next_ip, edge.next_ip, cloud.next_ip) == ("10.0.1.2", "10.0.2.2", None)
    assert [c.fringe for c in (ue, edge, cloud)] == [("block1_0",), ("block2_0",), ("block3_0",)]
    assert [c.dataset for c in (ue, edge, cloud)] == ["digits", None, None]
    assert {c.results_ip for c in (ue, edge, cloud)} == {"10.1.0.0"}
    assert len({c.model_hash for c in (ue, edge, cloud)}) == 1


def test_each_stage_receives_its_own_layers_and_no_others(
    plan: PipelinePlan, model: ChainModel, stages: list[Any]
) -> None:
    weights = model.state_dict()
    distribute(stages, configurations(plan, model, table(plan, model)), weights)
    for stage, planned in zip(stages, plan.stages, strict=True):
        assert {name.split(".")[1] for name in stage.tensors} == set(planned.layers)
    assert sum(len(stage.tensors) for stage in stages) == len(weights)


def test_weights_that_arrive_changed_are_noticed(
    plan: PipelinePlan, model: ChainModel, stages: list[Any]
) -> None:
    stages[0].corrupts = True
    with pytest.raises(FrozenLayerChangedError, match="stage ue did not load the weights"):
        distribute(stages, configurations(plan, model, table(plan, model)), model.state_dict())


def test_both_sides_of_a_cut_get_the_same_basis_and_receivers_start_first(
    plan: PipelinePlan, stages: list[Any], log: list[tuple[str, str]]
) -> None:
    cuts = [Cut(torch.eye(channels), torch.zeros(channels)) for channels in (4, 8)]
    load_cuts(stages, cuts, find_fringe(plan.partition))
    start(stages)
    assert log == [
        ("ue", "encoder of cut 0, 4 channels, of block1_0"),
        ("edge", "decoder of cut 0, 4 channels, of block2_0"),
        ("edge", "encoder of cut 1, 8 channels, of block2_0"),
        ("cloud", "decoder of cut 1, 8 channels, of block3_0"),
        ("cloud", "start"),
        ("edge", "start"),
        ("ue", "start"),
    ]


def test_a_generation_is_prepared_everywhere_before_the_source_uses_it(
    stages: list[Any], log: list[tuple[str, str]]
) -> None:
    events: list[Event] = []
    live = LivePipeline(
        stages,
        {"validation": 1200, "test": 300},
        warmup_frames=2,
        emit=events.append,
    )
    seen = live.observe(RUNGS, "validation")
    assert log == [
        ("ue", "prepare 1 2 of 4 channels, uncompressed"),
        ("edge", "prepare 1 2 of 4 channels, uncompressed"),
        ("cloud", "prepare 1 2 of 4 channels, uncompressed"),
        ("ue", "activate 1 validation"),
        ("ue", "results 1 500 2"),
        ("ue", "results 1 1000 2"),
        ("ue", "results 1 1200 2"),
        ("ue", "traffic"),
        ("edge", "arrivals"),
        ("edge", "traffic"),
        ("cloud", "arrivals"),
    ]
    assert (seen.generation, seen.samples, seen.correct) == (1, 1200, 1197)
    assert [(c.size_bytes, c.transfer_ms) for c in seen.connections] == [(500.0, 2.0)] * 2
    assert events[0] == GenerationActivated(
        t_ns=1000, generation=1, rungs=("2 of 4 channels", "uncompressed")
    )
    assert [event.done for event in events if isinstance(event, Progress)] == [500, 1000, 1200]


def test_a_roll_back_switches_the_source_alone_for_the_rung_is_resident(
    stages: list[Any], log: list[tuple[str, str]]
) -> None:
    live = LivePipeline(stages, {"validation": 10}, 0, lambda _: None)
    live.observe(RUNGS, "validation")
    log.clear()
    live.resume(0)
    assert log == [("ue", "activate 0 validation")]


@pytest.mark.usefixtures("stages")
def test_stages_are_stopped_from_the_source_on(
    plan: PipelinePlan, log: list[tuple[str, str]]
) -> None:
    with connected(plan):
        pass
    assert log == [(name, "stop") for name in ("ue", "edge", "cloud")] + [
        (name, "closed") for name in ("cloud", "edge", "ue")
    ]


@pytest.mark.usefixtures("stages")
def test_after_a_failure_every_stage_is_still_told_to_stop(
    plan: PipelinePlan, log: list[tuple[str, str]]
) -> None:
    with pytest.raises(ZeroDivisionError), connected(plan):
        raise ZeroDivisionError
    assert [name for name, what in log if what == "stop"] == ["ue", "edge", "cloud"]
    assert [name for name, what in log if what == "closed"] == ["cloud", "edge", "ue"]


@pytest.mark.parametrize(
    ("wanted", "measured"), [(100, 100), (300, 300), (500, 300), (600, 600), (1000, 900)]
)
def test_no_image_counts_more_often_than_another(wanted: int, measured: int) -> None:
    assert whole_passes(wanted, available=300) == measured


def failure(plan: dict[str, Any], folder: Path) -> int | str | None:
    with pytest.raises(SystemExit) as ending:
        main(
            {
                "plan": plan,
                "events_path": folder / "events.jsonl",
                "table_path": folder / "ladder.json",
            }
        )
    return ending.value.code


def test_a_plan_that_makes_no_sense_ends_with_status_2_and_one_line(
    plan: PipelinePlan, tmp_path: Path
) -> None:
    with pytest.raises(BadConfigurationError, match=r"^ControllerConfiguration: plan\.batch: .+$"):
        failure(plan.model_dump(mode="json") | {"batch": 0}, tmp_path)
    assert BadConfigurationError.exit_status == 2


@pytest.mark.usefixtures("stages")
def test_an_impossible_target_ends_the_run_and_the_stages_before_anything_is_sent(
    plan: PipelinePlan,
    log: list[tuple[str, str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    impossible = {"min_accuracy": 0.5, "max_bytes_per_inference": 1}
    assert failure(plan.model_dump(mode="json") | {"targets": impossible}, tmp_path) == 2
    assert capsys.readouterr().err.startswith(
        "controller: max_bytes_per_inference: asks for at most 1.0 bytes"
    )
    assert [what for _, what in log] == ["stop"] * 3 + ["closed"] * 3
