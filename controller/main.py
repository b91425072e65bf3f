"""The controller of a pipeline run: one process on the management network.

The order of FIG. 5 of US 2025/0265465 A1 around the loop of ``controller.optimizer``: distribute,
determine the fringe, freeze; measure before; loop; measure after; prove that what was frozen is.

Three disjoint splits: the cuts are calibrated on ``train``, every decision of the loop is taken on
``validation``, and the figures before and after come from ``test``.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError
from torch import Tensor

from controller.basis import Basis, calibrate
from controller.errors import ControllerError, FrozenLayerChangedError
from controller.fringe import find_fringe
from controller.ladder import Ladder
from controller.optimizer import Emit, optimize
from controller.pipeline import Observation, SplitName
from controller.plan import PipelinePlan, check_targets, ladders_of
from controller.session import (
    LivePipeline,
    configurations,
    connected,
    distribute,
    frozen_digest,
    load_cuts,
    start,
)
from stage_node.data import Dataset, load_dataset
from stage_node.errors import StageNodeError
from stage_node.events import EventLog, FrozenHash, Measurement, PartitionChosen, Progress
from stage_node.models import ChainModel, load_checkpoint


def run_pipeline(plan: dict[str, Any], events_path: str, run_dir: str) -> None:
    """Process entry: run ``plan`` (the fields of ``PipelinePlan``) and exit.

    Leaves ``ladder.json`` in ``run_dir``. Exit status 0 also when the target was not reached: that
    is a result. Otherwise one line on stderr and the status of the error.
    """
    with EventLog(Path(events_path), "controller") as events:
        try:
            serve(PipelinePlan.model_validate(plan), events.emit, Path(run_dir))
        except (ControllerError, StageNodeError) as error:
            _fail(str(error), error.exit_status)
        except ValidationError as error:
            _fail(f"plan: {error}", 2)


def serve(plan: PipelinePlan, emit: Emit, run_dir: Path) -> None:
    """Run the whole of ``plan`` on stages that wait for their controller, and stop them."""
    with connected(plan) as clients:
        model = load_checkpoint(plan.checkpoint)
        ladders = ladders_of(model, plan.partition)
        check_targets(ladders, plan.targets)
        dataset = load_dataset(plan.dataset)
        emit(
            PartitionChosen,
            hosts=tuple(stage.name for stage in plan.stages),
            stages=plan.partition.stages,
            fringe=find_fringe(plan.partition).layers,
            raw_input_bytes=dataset.raw_bytes_per_image,
        )
        before = distribute(clients, configurations(plan, model), model.state_dict())
        bases = _calibrate(plan, model, dataset, emit)
        _write_ladders(run_dir / "ladder.json", plan, bases, ladders)
        load_cuts(clients, bases)
        start(clients)
        images: dict[SplitName, int] = {
            "validation": len(dataset.validation),
            "test": whole_passes(plan.measured_images, len(dataset.test)),
        }
        _compress(LivePipeline(clients, images, plan.warmup_frames, emit), ladders, plan, emit)
        clients[0].drain()
        after = frozen_digest(clients)
        emit(FrozenHash, before=before, after=after)
        if after != before:
            raise FrozenLayerChangedError("a tensor outside the fringe layers changed in the run")


def _compress(
    pipeline: LivePipeline, ladders: Sequence[Ladder], plan: PipelinePlan, emit: Emit
) -> None:
    """The loop, between the two measurements that it has no part in."""
    _measured("before", pipeline.observe((None,) * len(ladders), "test"), emit)
    outcome = optimize(pipeline, ladders, plan.targets, emit)
    _measured("after", pipeline.observe(outcome.best.widths, "test"), emit)


def whole_passes(wanted: int, available: int) -> int:
    """Images to measure: no image may count more often than another."""
    return wanted if wanted < available else wanted - wanted % available


def _calibrate(
    plan: PipelinePlan, model: ChainModel, dataset: Dataset, emit: Emit
) -> tuple[Basis, ...]:
    images = dataset.train.images[: plan.calibration_images]

    def batches() -> Iterator[Tensor]:
        for begin in range(0, len(images), plan.batch):
            batch = images[begin : begin + plan.batch]
            yield batch
            emit(
                Progress,
                task="calibration images",
                done=begin + len(batch),
                total=len(images),
            )

    return calibrate(model, plan.partition, batches())


def _measured(label: str, seen: Observation, emit: Emit) -> None:
    emit(
        Measurement,
        label=label,
        generation=seen.generation,
        widths=seen.widths,
        begin_ns=seen.begin_ns,
        end_ns=seen.end_ns,
        accuracy=seen.accuracy,
        samples=seen.samples,
        split=seen.split,
    )


def _write_ladders(
    path: Path, plan: PipelinePlan, bases: Sequence[Basis], ladders: Sequence[Ladder]
) -> None:
    cuts = [
        {
            "cut": cut,
            "after": layer,
            "variance_ratio": basis.variance_ratio.tolist(),
            "rungs": [
                {"name": r.name, "width": r.width, "payload_bytes": r.payload_bytes}
                for r in ladder.rungs
            ],
        }
        for cut, (layer, basis, ladder) in enumerate(
            zip(plan.partition.cuts, bases, ladders, strict=True)
        )
    ]
    path.write_text(json.dumps({"schema": 1, "cuts": cuts}, indent=1))


def _fail(reason: str, exit_status: int) -> NoReturn:
    print(f"controller: {' '.join(reason.split())}", file=sys.stderr, flush=True)
    raise SystemExit(exit_status)
