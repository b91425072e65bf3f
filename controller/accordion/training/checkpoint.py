"""Trains a network and writes its prefix-runnable checkpoint with the look-up table beside it."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from controller.accordion.compute import ALONE, Compute
from controller.accordion.lookup import LookupTable, parse_table, write_table
from controller.accordion.training.batchnorm import needs_own_statistics, recalibrated
from controller.accordion.training.iterations import (
    SILENT,
    Hooks,
    Kept,
    Recipe,
    frozen_layers,
    train,
)
from controller.accordion.training.objective import Distillation, Objective, label_loss
from controller.accordion.training.sampling import (
    Distribution,
    Scheme,
    communication_criterion,
    ladder,
    performance_criterion,
    scheme_distribution,
)
from controller.accordion.training.start import BadStartError, adopt
from controller.errors import ControllerError
from controller.keeping.whole_file import whole_file
from stage_node.accordion.prefix_writer import Statistics, prefix_bytes, write_prefix_checkpoint
from stage_node.data import Dataset, load_dataset
from stage_node.errors import BadModelError
from stage_node.models import ChainModel, ModelSpec, build_model, load_model
from stage_node.records.configuration import Configuration, configuration_name


class BadTrainingError(ControllerError):
    """A training that makes no sense as it was asked for."""

    exit_status = 2


@dataclass(frozen=True)
class Training:
    """Everything a checkpoint depends on; its command line can be had back from it.

    ``rungs`` replaces the scheme's own configurations. ``links`` (Mbit/s to weight, with
    ``deadline_ms``) or ``required`` (accuracy to weight, judged by ``accuracies`` of an earlier
    training) replaces the scheme's probabilities by one of the paper's two criteria. ``start``
    is a model of the same shape to begin at, ``teacher`` one to distil from.
    """

    data: str = "digits"
    family: str = "resnet"
    depth: int = 20
    width: int = 16
    downsample: str = "pool"
    option: Mapping[str, str] = field(default_factory=dict)
    scheme: Scheme = "coml"
    p_full: float = 0.5
    rungs: tuple[Configuration, ...] = ()
    links: Mapping[float, float] = field(default_factory=dict)
    deadline_ms: float | None = None
    required: Mapping[float, float] = field(default_factory=dict)
    lookup: Path | None = None
    start: Path | None = None
    teacher: Path | None = None
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        if bool(self.links) != (self.deadline_ms is not None):
            raise BadTrainingError("--links and --deadline-ms make a criterion only together")
        if bool(self.required) != (self.lookup is not None):
            raise BadTrainingError(
                "--required needs --lookup, the look-up table of an earlier training, and it that"
            )
        if self.recipe.frozen_blocks and self.start is None:
            raise BadTrainingError("--frozen-blocks: only blocks of a trained network, --start")
        if self.recipe.epochs == 0 and self.start is None:
            raise BadTrainingError("--epochs 0 and no --start: nothing is learned")
        if self.links and self.required:
            raise BadTrainingError("give one criterion: --links with --deadline-ms, or --required")

    def spec(self, dataset: Dataset) -> ModelSpec:
        """The model that fits the data set; ``BadTrainingError`` where there is none such."""
        channels, size, _ = dataset.image_shape
        try:
            return ModelSpec.model_validate(
                {
                    "family": self.family,
                    "depth": self.depth,
                    "width": self.width,
                    "downsample": self.downsample,
                    "options": dict(self.option),
                    "classes": len(dataset.classes),
                    "in_channels": channels,
                    "image_size": size,
                }
            )
        except ValidationError as error:
            wrong = error.errors()[0]
            raise BadTrainingError(f"--{wrong['loc'][0]}: {wrong['msg']}") from None

    def command(self, checkpoint: Path, compute: Compute = ALONE) -> str:
        """The command that repeats this training: what differs from the defaults, the precision
        where the processor would choose another, and the file."""
        words = [word for part in (self, self.recipe) for word in _options(part)]
        if compute.precision_name != ALONE.precision_name or compute.device != ALONE.device:
            words += ["--precision", compute.precision_name]
        return shlex.join(["concertina", "train", *words, checkpoint.name])


def train_checkpoint(
    training: Training,
    checkpoint: Path,
    data_folder: Path | None = None,
    compute: Compute = ALONE,
    hooks: Hooks = SILENT,
) -> LookupTable | None:
    """Train, write ``checkpoint`` and the table beside it; returns the table.

    Configurations in which a block sees another input each get their own BatchNorm statistics,
    counted in their bytes. An interrupted training continues from ``<checkpoint>.state``. Of
    several processes only the first writes, the others return None.
    """
    dataset = load_dataset(training.data, data_folder)
    torch.manual_seed(training.recipe.seed)
    model = build_model(training.spec(dataset))
    if training.start is not None:
        with _named("--start"):
            adopt(model, load_model(training.start))
    with _named("--frozen-blocks"):
        frozen = frozen_layers(model, training.recipe.frozen_blocks)
    with _named("--rungs"):
        rungs = _rungs(training, model)
    distribution = _distribution(training, model, rungs)
    command = training.command(checkpoint, compute)
    state = Kept(checkpoint.with_suffix(".state"), command)
    with _named("--teacher"):
        objective = _objective(training, compute, model)
    train(model, dataset, distribution, training.recipe, objective, compute, state, hooks)
    if not compute.leads:
        return None
    statistics = _statistics(model, distribution, frozen, dataset)
    metadata = {"command": command, "dataset": training.data}
    with whole_file(checkpoint) as part:
        write_prefix_checkpoint(part, model, rungs, metadata, statistics)
    table = write_table(checkpoint, dataset)
    state.file.unlink(missing_ok=True)
    return table


@contextmanager
def _named(option: str) -> Iterator[None]:
    """Say which option it is that asks for what cannot be."""
    try:
        yield
    except (ValueError, BadModelError, BadStartError) as error:
        raise BadTrainingError(f"{option}: {error}") from None


def _rungs(training: Training, model: ChainModel) -> tuple[Configuration, ...]:
    """Those asked for, or the scheme's."""
    full, smallest = model.full_configuration, model.smallest_configuration
    rungs = training.rungs or ladder(training.scheme, full, smallest)
    for rung in rungs:
        model.subset(rung)
    grows = all(
        small != large and all(a <= b for a, b in zip(small, large, strict=True))
        for small, large in pairwise(rungs)
    )
    if not grows or rungs[-1] != full:
        whole = configuration_name(full)
        raise ValueError(f"each configuration holds the one before it, up to the full one, {whole}")
    return rungs


def _distribution(
    training: Training, model: ChainModel, rungs: tuple[Configuration, ...]
) -> Distribution:
    try:
        if training.links and training.deadline_ms is not None:
            statistics = (
                {c: dict(model.configured(c).named_buffers()) for c in rungs}
                if needs_own_statistics(model, rungs)
                else None
            )
            sizes = prefix_bytes(model, rungs, statistics)
            return communication_criterion(sizes, training.links, training.deadline_ms)
        if training.required and training.lookup is not None:
            table = parse_table(training.lookup)
            accuracies = {entry.configuration: entry.accuracy for entry in table.entries}
            if tuple(accuracies) != rungs:
                raise BadTrainingError(f"{training.lookup} has other configurations")
            return performance_criterion(accuracies, training.required)
        return scheme_distribution(training.scheme, rungs, training.p_full)
    except ValueError as error:
        raise BadTrainingError(str(error)) from None


def _objective(training: Training, compute: Compute, model: ChainModel) -> Objective:
    if training.teacher is None:
        return label_loss
    teacher = load_model(training.teacher).eval()
    for what in ("in_channels", "image_size", "classes"):
        own, its = (getattr(each.spec, what) for each in (model, teacher))
        if own != its:
            raise ValueError(f"its {what} is {its}, that of the data {own}")
    return Distillation(compute.placed(teacher))


def _statistics(
    model: ChainModel, distribution: Distribution, frozen: tuple[str, ...], dataset: Dataset
) -> Statistics | None:
    """Measured anew for every configuration, but for one that was trained alone: the model's own
    are of that one, and of the augmented images that it learned from."""
    if not needs_own_statistics(model, tuple(distribution)):
        return None
    return {
        configuration: dict(model.configured(configuration).named_buffers())
        if share == 1
        else recalibrated(model, configuration, dataset.train.images, frozen)
        for configuration, share in distribution.items()
    }


def _options(part: Training | Recipe) -> list[str]:
    """The options of a command for every field that is not at its default."""
    words: list[str] = []
    for each in fields(part):
        value = getattr(part, each.name)
        default = each.default_factory() if callable(each.default_factory) else each.default
        if each.name != "recipe" and value != default:
            name = "--" + each.name.replace("_", "-")
            words += [word for text in _texts(value) for word in (name, text)]
    return words


def _texts(value: Any) -> list[str]:
    """A value as the command line has it: mappings entry by entry, configurations as 9-9-9.

    Files by their names: where they lay is this machine's business.
    """
    if isinstance(value, Path):
        return [value.name]
    if isinstance(value, Mapping):
        separator = "=" if all(isinstance(key, str) for key in value) else ":"
        return [f"{key}{separator}{weight}" for key, weight in value.items()]
    if isinstance(value, tuple):
        return [configuration_name(configuration) for configuration in value]
    return [str(value)]
