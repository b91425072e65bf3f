"""The controller of a pipeline run: one process on the management network.

The order of FIG. 5 of US 2025/0265465 A1 around the loop of ``controller.loop.optimizer``:
distribute, determine the fringe, freeze; measure before; loop; measure after; prove that what was
frozen is.

Three disjoint splits: the cuts are calibrated on ``train``, every decision of the loop is taken on
``validation``, and the figures before and after come from ``test``.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from controller.control.automatic import control
from controller.errors import ControllerError, FrozenLayerChangedError
from controller.fringe.fringe import find_fringe
from controller.ladder.builder import build_ladder
from controller.ladder.cache import BadLadderError, BuiltLadder
from controller.ladder.ladder import LadderTable
from controller.ladder.work_cost import Cost, Meter
from controller.live.pipeline import Observation, SplitName
from controller.live.plan import PipelinePlan, check_ladder, check_modules, check_targets
from controller.live.session import (
    LivePipeline,
    configurations,
    connected,
    distribute,
    frozen_digest,
    load_cuts,
    start,
)
from controller.loop.optimizer import optimize
from stage_node.data import load_dataset
from stage_node.errors import StageNodeError
from stage_node.fringe.rpc import ControlClient
from stage_node.models import ChainModel, load_model
from stage_node.processes.configuration import ProcessConfiguration
from stage_node.processes.rendezvous import Company
from stage_node.records.events import (
    Emit,
    EventLog,
    FrozenHash,
    ImagesUsed,
    Measurement,
    PartitionChosen,
    Progress,
    WorkCost,
)
from stage_node.wire.rung import UNCOMPRESSED


class ControllerConfiguration(ProcessConfiguration):
    """Configuration of a pipeline's controller; it leaves the ladder's table in ``table_path``."""

    plan: PipelinePlan
    events_path: Path
    table_path: Path


def main(configuration: ControllerConfiguration | Mapping[str, Any]) -> None:
    """Process entry: run the plan and exit.

    Exit status 0 also when the target was not reached: that is a result. Otherwise one line on
    stderr and the status of the error.
    """
    told = ControllerConfiguration.parse(configuration)
    with EventLog(told.events_path, told.plan.controller) as events:
        company = Company(events, told.events_path, told.plan.company)
        try:
            serve(told.plan, events.emit, told.table_path, company)
        except (ControllerError, StageNodeError) as error:
            _fail(str(error), error.exit_status)


def serve(plan: PipelinePlan, emit: Emit, table_path: Path, company: Company) -> None:
    """Run the whole of ``plan`` on stages that wait for their controller, and stop them."""
    with connected(plan) as clients:
        model = load_model(plan.checkpoint)
        check_targets(model, plan.partition, plan.targets)
        check_modules(model, plan.partition, plan.targets, plan.modules)
        ladder = _ladder(plan, model, emit)
        check_ladder(ladder.table, plan.targets)
        table_path.write_text(ladder.table.to_json())
        _cost("ladder", ladder.table.cost, emit)
        dataset = load_dataset(plan.dataset).limited(plan.validation_images)
        fringe = find_fringe(plan.partition, plan.targets.fringe_layers)
        emit(
            PartitionChosen(
                pipeline=plan.name,
                hosts=tuple(stage.name for stage in plan.stages),
                stages=plan.partition.stages,
                fringe=fringe.layers,
                raw_input_bytes=dataset.raw_bytes_per_image,
                reason=plan.placement.reason if plan.placement else None,
            )
        )
        configured = configurations(plan, model, ladder.table)
        before = distribute(clients, configured, model.state_dict())
        load_cuts(clients, ladder.cuts, fringe, ladder.modules)
        start(clients)
        images: dict[SplitName, int] = {
            "validation": len(dataset.validation),
            "test": whole_passes(plan.measured_images, len(dataset.test)),
        }
        used = {
            "calibration": ("train", ladder.table.calibration_images),
            "decisions": ("validation", images["validation"]),
            "figures": ("test", min(whole_frames(plan), len(dataset.test))),
        }
        for purpose, (split, count) in used.items():
            emit(ImagesUsed(purpose=purpose, split=split, images=count))
        live = LivePipeline(clients, images, plan.warmup_frames, emit)
        company.meet("ready")
        _compress(live, clients, ladder.table, plan, emit)
        company.meet("done")
        clients[0].drain()
        after = frozen_digest(clients)
        emit(FrozenHash(before=before, after=after))
        if after != before:
            raise FrozenLayerChangedError("a tensor outside the fringe layers changed in the run")


def _compress(
    pipeline: LivePipeline,
    clients: Sequence[ControlClient],
    table: LadderTable,
    plan: PipelinePlan,
    emit: Emit,
) -> None:
    """The loop, between the two measurements that it has no part in; or automatic control."""
    uncompressed = (UNCOMPRESSED,) * len(table.ladders)
    _measured("before", pipeline.observe(uncompressed, "test"), emit)
    if plan.control is not None:
        control(
            *(pipeline, clients, table.ladders, plan.batch, plan.window, plan.control),
            targets=plan.targets,
            truth=plan.truth,
            emit=emit,
        )
        return
    meter = Meter()
    outcome = optimize(pipeline, table.ladders, plan.targets, emit, plan.batch)
    _cost("loop", meter.cost(), emit)
    _measured("after", pipeline.observe(outcome.best.rungs, "test"), emit)


def _cost(work: str, cost: Cost, emit: Emit) -> None:
    emit(
        WorkCost(
            work=work,
            duration_s=cost.duration_s,
            cpu_s=cost.cpu_s,
            peak_memory_mib=cost.peak_memory_mib,
        )
    )


def whole_frames(plan: PipelinePlan) -> int:
    """Images that ``measured_images`` come to: the last frame is a whole one."""
    return -(-plan.measured_images // plan.batch) * plan.batch


def whole_passes(wanted: int, available: int) -> int:
    """Images to measure: no image may count more often than another."""
    return wanted if wanted < available else wanted - wanted % available


def _ladder(plan: PipelinePlan, model: ChainModel, emit: Emit) -> BuiltLadder:
    """The one that the plan names, or one built now."""
    if plan.ladder is None:
        return build_ladder(
            plan.ladder_request,
            lambda task, done, total: emit(Progress(task=task, done=done, total=total)),
        )
    built = BuiltLadder.load(plan.ladder, model, plan.targets.fringe_layers)
    if built.table.stages != plan.partition.stages:
        raise BadLadderError(f"{plan.ladder}: this ladder is of another split")
    return built


def _measured(label: str, seen: Observation, emit: Emit) -> None:
    emit(
        Measurement(
            label=label,
            generation=seen.generation,
            rungs=seen.names,
            begin_ns=seen.begin_ns,
            end_ns=seen.end_ns,
            accuracy=seen.accuracy,
            samples=seen.samples,
            split=seen.split,
        )
    )


def _fail(reason: str, exit_status: int) -> NoReturn:
    print(f"controller: {' '.join(reason.split())}", file=sys.stderr, flush=True)
    raise SystemExit(exit_status)
