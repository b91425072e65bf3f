"""The plan of a pipeline run: its parts, and what is known before anything starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from controller.errors import BadTargetsError
from controller.fringe.fringe import find_fringe, is_chain
from controller.fringe.mechanisms import CutFacts, MechanismName, combinations
from controller.fringe.targets import AutomaticControl, FringeTargets, check_goal
from controller.ladder.bottlenecks import load_modules
from controller.ladder.cache import LadderRequest
from controller.ladder.ladder import LadderTable, ModuleFile
from controller.live.known_rates import KnownRates
from controller.split.partition import Partition
from controller.split.placement import Placement
from stage_node.models import ChainModel
from stage_node.processes.charges import StageCharges
from stage_node.records.events import LONE_PIPELINE
from stage_node.wire.codecs import Codec, Coding
from stage_node.wire.rung import Rung


def controller_name(pipeline: str) -> str:
    """The process that controls a pipeline."""
    return "controller" if pipeline == LONE_PIPELINE else f"controller-{pipeline}"


class StagePlan(BaseModel):
    """One stage: the host it runs on, its layers, and where it is reached.

    ``control_ip`` is its address on the management network, ``listen_ip`` the one on the
    emulated network at which the stage before it connects (none for the first stage). ``charges``
    is what its work takes on the device that the host stands for (none: not charged).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    layers: tuple[str, ...] = Field(min_length=1)
    control_ip: str
    control_port: int
    listen_ip: str | None = None
    data_port: int = 5000
    charges: StageCharges | None = None


class PipelinePlan(BaseModel):
    """A model split over stages, its workload, and what the loop is to reach.

    ``company`` are the processes that run at the same time: the controllers of other pipelines, and
    UEs. No pipeline is measured before all are ready; each serves on until all are done.
    ``placement`` says how the stages were found, where measurements decided.
    The first ``calibration_images`` of the train split set ranges and bases; every decision is
    taken on the first ``validation_images`` of the validation split (all, where it has fewer);
    ``measured_images`` of the test split are used for the figures before and after; more than the
    split has means whole passes over it. ``warmup_frames`` are served under each new generation
    before measuring begins. ``modules`` are distilled bottlenecks that the mechanism ``distill``
    may use. ``ladder`` is the directory of a ladder built before (``ladder_request`` says from
    what); without one the controller builds it itself before it distributes the model. With
    ``control`` the policy takes the place of the loop: rungs follow the network. ``truth`` are the
    rates that each connection will have while it is controlled, for the oracle alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = LONE_PIPELINE
    company: tuple[str, ...] = ()
    checkpoint: Path
    dataset: str
    stages: tuple[StagePlan, ...] = Field(min_length=2)
    placement: Placement | None = None
    results_port: int = 5001
    batch: int = Field(ge=1)
    window: int = Field(ge=1)
    calibration_images: int = Field(ge=2)
    validation_images: int = Field(default=1000, ge=1)
    measured_images: int = Field(ge=1)
    warmup_frames: int = Field(default=4, ge=0)
    targets: FringeTargets
    modules: tuple[ModuleFile, ...] = ()
    ladder: Path | None = None
    control: AutomaticControl | None = None
    truth: tuple[KnownRates, ...] = ()

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        for stage in self.stages[1:]:
            if stage.listen_ip is None:
                raise ValueError(f"stage {stage.name} has no listen_ip for the stage before it")
        check_goal(self.targets, self.control)
        return self

    @property
    def controller(self) -> str:
        """The name of its controller's process, by which events are known to be this pipeline's."""
        return controller_name(self.name)

    @property
    def partition(self) -> Partition:
        """The layers, stage by stage."""
        return Partition(tuple(stage.layers for stage in self.stages))

    @property
    def ladder_request(self) -> LadderRequest:
        """Request for the ladder of this plan."""
        return LadderRequest(
            checkpoint=self.checkpoint,
            dataset=self.dataset,
            stages=self.partition.stages,
            mechanisms=self.targets.mechanisms,
            fringe_layers=self.targets.fringe_layers,
            calibration_images=self.calibration_images,
            validation_images=self.validation_images,
            batch=self.batch,
            modules=self.modules,
        )


SIZE_KNOWN: frozenset[MechanismName] = frozenset(
    {"channels", "weights", "width", "sparse", "quantise"}
)
"""Mechanisms whose bytes follow from the shape alone."""


def check_targets(model: ChainModel, partition: Partition, targets: FringeTargets) -> None:
    """``BadTargetsError`` for what no ladder could change: fringe layers that are not there or have
    nothing that the only mechanism could prune, a byte target below the fewest bytes that the
    mechanisms can make of the cuts' shapes.

    Frame headers come on top, so what this refuses is impossible; what it allows may still prove
    to be out of reach.
    """
    pairs = find_fringe(partition, targets.fringe_layers).pairs
    chains = [is_chain(model, pair) for pair in pairs]
    if targets.mechanisms == ("channels",) and not all(chains):
        cut = chains.index(False)
        sending, receiving = (", ".join(side) for side in pairs[cut])
        raise BadTargetsError(
            f"mechanisms: channels has nothing to prune at the cut after '{partition.cuts[cut]}', "
            f"whose fringe layers ({sending} | {receiving}) are no plain chain: use width"
        )
    if not SIZE_KNOWN.issuperset(targets.mechanisms):
        return
    shapes = [model.shapes()[cut][1:] for cut in partition.cuts]
    every = [
        combinations(
            _sizing(targets.mechanisms), CutFacts(shape[0], every_width=True, is_chain=chain)
        )
        for shape, chain in zip(shapes, chains, strict=True)
    ]
    sizes = [
        [_packed_bytes(rung, shape) for rung in rungs]
        for rungs, shape in zip(every, shapes, strict=True)
    ]
    _check_bytes(targets, sum(map(min, sizes)), sum(size[0] for size in sizes))


def check_modules(
    model: ChainModel,
    partition: Partition,
    targets: FringeTargets,
    modules: Sequence[ModuleFile],
) -> None:
    """``BadTargetsError`` where there are modules without the mechanism that uses them or the other
    way round, or where one does not fit the partition; ``BadModelError`` for a file that is none.
    """
    if modules and "distill" not in targets.mechanisms:
        raise BadTargetsError("modules are there, but distill is not among targets.mechanisms")
    if "distill" in targets.mechanisms and not modules:
        raise BadTargetsError(
            "the mechanism distill needs modules: bottlenecks trained for the cuts "
            "(`concertina distill`)"
        )
    load_modules(modules, model, partition, targets.fringe_layers)


def check_ladder(table: LadderTable, targets: FringeTargets) -> None:
    """``BadTargetsError`` where the measured ladder shows that the targets cannot be reached: not
    even the strongest rung of every cut is small enough, or the model itself is below the floor.
    """
    _check_bytes(targets, table.strongest_bytes, table.uncompressed_bytes)
    targets.accuracy_floor(table.uncompressed_accuracy)


def _sizing(mechanisms: Sequence[MechanismName]) -> tuple[MechanismName, ...]:
    """Those that the fewest bytes depend on: width alone can do whatever channels can."""
    beside = {"weights", "channels"} if "width" in mechanisms else {"weights"}
    return tuple(name for name in mechanisms if name not in beside)


def _packed_bytes(rung: Rung, shape: tuple[int, ...]) -> int:
    sent = (rung.width or rung.channels or shape[0], *shape[1:])
    return Coding(Codec.of(rung), sent, rung.keep).packed_bytes(samples=1)


def _check_bytes(targets: FringeTargets, least: float, most: float) -> None:
    budget = targets.byte_budget(most)
    if budget is None or least <= budget:
        return
    field = "bandwidth_reduction"
    if targets.bandwidth_reduction is None:
        field = "max_bytes_per_inference"
    raise BadTargetsError(
        f"{field}: asks for at most {budget:.1f} bytes per inference, but the strongest that "
        f"{', '.join(targets.mechanisms)} can do at every cut is {least:.6g} "
        f"(uncompressed {most:.6g}, a factor of {most / least:.1f})"
    )
