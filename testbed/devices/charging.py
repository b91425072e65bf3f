"""From tables and devices to what every stage and every UE is charged.

A time is the table's, divided by the device's speed and by the host's share of a processor, for on
a virtual clock a control group slows nothing down. Forwards are of the model's own layers,
also under rungs that prune some of them. Coding, the cut's module included, comes from the ladder,
per image, and is charged where frames are encoded and decoded.
"""

from collections.abc import Iterable
from pathlib import Path

from controller.ladder.ladder import Ladder, LadderTable
from controller.live.plan import PipelinePlan, StagePlan
from controller.split.compute_table import content_sha256
from stage_node.models import load_model
from stage_node.processes.charges import StageCharges
from stage_node.records.configuration import Configuration, configuration_name
from testbed.devices.computing import Computing


def charged_plan(plan: PipelinePlan, ladder: LadderTable, computing: Computing) -> PipelinePlan:
    """A pipeline's plan with what each of its stages is charged."""
    content = content_sha256(plan.checkpoint)
    cuts = [None, *ladder.ladders, None]
    stages = tuple(
        stage.model_copy(
            update={"charges": stage_charges(stage, content, plan.batch, computing, before, behind)}
        )
        for stage, before, behind in zip(plan.stages, cuts, cuts[1:], strict=False)
    )
    return plan.model_copy(update={"stages": stages})


def stage_charges(
    stage: StagePlan,
    checkpoint_sha256: str,
    batch: int,
    computing: Computing,
    before: Ladder | None,
    behind: Ladder | None,
) -> StageCharges:
    """Charges of a stage between two cuts, from their ladders (None at the ends)."""
    device, reference = computing.devices[stage.name], computing.table(checkpoint_sha256)
    speed = device.speed(reference, batch)
    return StageCharges(
        forward_ms=device.forward_ms(reference, stage.layers),
        encode_ms={rung.name: rung.encode_ms / speed for rung in behind.rungs} if behind else {},
        decode_ms={rung.name: rung.decode_ms / speed for rung in before.rungs} if before else {},
    )


def inference_charges(
    host: str, checkpoint: Path, configurations: Iterable[Configuration], computing: Computing
) -> dict[str, float]:
    """Charges of a UE for one image, ms, by configuration of a model."""
    device, reference = computing.devices[host], computing.table(content_sha256(checkpoint))
    model = load_model(checkpoint)
    return {
        configuration_name(each): device.forward_ms(reference, model.subset(each))[1]
        for each in configurations
    }
