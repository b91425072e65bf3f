"""What a pipeline run is made of, and what can be known about it before anything starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from controller.errors import BadTargetsError
from controller.ladder import Ladder, width_ladder
from controller.partition import Partition
from controller.targets import FringeTargets
from stage_node.models import ChainModel


class StagePlan(BaseModel):
    """One stage: the host it runs on, its layers, and where it is reached.

    ``control_ip`` is its address on the management network, ``listen_ip`` the one on the
    emulated network at which the stage before it connects (none for the first stage).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    layers: tuple[str, ...] = Field(min_length=1)
    control_ip: str
    control_port: int
    listen_ip: str | None = None
    data_port: int = 5000


class PipelinePlan(BaseModel):
    """A model split over stages, its workload, and what the loop is to reach.

    ``measured_images`` of the test split are used for the figures before and after; more than the
    split has means whole passes over it. ``warmup_frames`` are served under each new generation
    before measuring begins.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: Path
    dataset: str
    stages: tuple[StagePlan, ...] = Field(min_length=2)
    results_port: int = 5001
    batch: int = Field(ge=1)
    window: int = Field(ge=1)
    calibration_images: int = Field(ge=2)
    measured_images: int = Field(ge=1)
    warmup_frames: int = Field(default=4, ge=0)
    targets: FringeTargets

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        for stage in self.stages[1:]:
            if stage.listen_ip is None:
                raise ValueError(f"stage {stage.name} has no listen_ip for the stage before it")
        return self

    @property
    def partition(self) -> Partition:
        """The layers, stage by stage."""
        return Partition(tuple(stage.layers for stage in self.stages))


def ladders_of(model: ChainModel, partition: Partition) -> tuple[Ladder, ...]:
    """The ladder of every cut, from the shape of the activation that crosses it."""
    shapes = model.shapes()
    return tuple(width_ladder(shapes[cut][1:]) for cut in partition.cuts)


def check_targets(ladders: Sequence[Ladder], targets: FringeTargets) -> None:
    """``BadTargetsError`` where not even the strongest rung of every cut meets the byte target.

    Frame headers come on top, so what this refuses is impossible; what it allows may still prove
    to be out of reach.
    """
    least = sum(ladder.rungs[-1].payload_bytes for ladder in ladders)
    most = sum(ladder.rungs[0].payload_bytes for ladder in ladders)
    if (budget := targets.byte_budget(most)) is not None and least > budget:
        field = (
            "max_bytes_per_inference"
            if targets.bandwidth_reduction is None
            else ("bandwidth_reduction")
        )
        raise BadTargetsError(
            f"{field}: asks for at most {budget:.1f} bytes per inference, but one channel at "
            f"every cut is {least} (uncompressed {most}, a factor of {most / least:.1f})"
        )
