"""Distils a bottleneck at a cut of a trained model; only fringe layers are trained (claim 7).

An interrupted training continues when it is asked for again.
"""

import hashlib
import json
import resource
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from controller.distillation.activations import ActivationCache
from controller.distillation.start import continue_from, warm_start
from controller.distillation.training import (
    DistillationProgress,
    DistillationRecipe,
    Student,
    Teacher,
    accuracy,
    train,
)
from controller.errors import BadPartitionError, BadTargetsError
from controller.split.partition import split_after
from stage_node.data import Dataset
from stage_node.fringe.bottleneck import BottleneckSpec, TrainedBottleneck, save_bottleneck
from stage_node.models import ChainModel
from stage_node.models.frozen import frozen_sha256

CALIBRATION_IMAGES = 1500
VERSIONS = 5


@dataclass(frozen=True)
class Distilled:
    """Result of a distillation, and its cost.

    ``bytes_per_image`` counts the packed codes. Accuracies are shares; that of the uncompressed
    model is on the same images. ``memory_mib`` is the process' largest resident set.
    """

    bytes_per_image: int
    validation_accuracy: float
    uncompressed_validation_accuracy: float
    training_minutes: float
    memory_mib: float


def distil(
    model: ChainModel,
    dataset: Dataset,
    after: str,
    spec: BottleneckSpec,
    recipe: DistillationRecipe,
    work: Path,
    out: Path,
    versions: int = VERSIONS,
    start: TrainedBottleneck | None = None,
    fringe_layers: int = 1,
    tune_sender: bool = False,
    on_progress: Callable[[DistillationProgress], None] = lambda _: None,
    on_caching: Callable[[str, float], None] = lambda *_: None,
) -> Distilled:
    """Train a bottleneck at the cut after a layer and write it to ``out``.

    ``work`` holds cached activations and the state of an interrupted training. ``model`` is
    only read. Training begins at the bottleneck ``start`` where one is given;
    ``fringe_layers`` are tuned behind the cut, and as many before it with ``tune_sender``. Train
    data trains; validation data gives the accuracies; test data is not touched.
    """
    torch.manual_seed(recipe.seed)
    receiving = receiving_fringe(model, after, fringe_layers)
    sending = sending_fringe(model, after, fringe_layers) if tune_sender else ()
    cached = model.layer_names[model.layer_names.index((*sending, *receiving)[0]) - 1]
    cache = ActivationCache(work, model, dataset, cached)
    # The plain version comes last: so few epochs as one are augmented already.
    numbers = [*range(1, versions), 0]
    augmented = [
        cache.split("train", version, lambda share, v=version: on_caching(f"train {v}", share))  # type: ignore[misc]
        for version in numbers
    ]
    if recipe.batch > len(augmented[0]):
        raise BadTargetsError(f"{len(augmented[0])} train images make no batch of {recipe.batch}")
    validation = cache.split("validation", 0, lambda share: on_caching("validation", share))
    teacher = Teacher.of(model, (*sending, *receiving))
    student = Student(model, spec, receiving, sending)
    state = work / f"{_key(model, dataset, spec, sending, receiving)}-{out.stem}.state"
    if not state.exists():
        sample = torch.arange(min(CALIBRATION_IMAGES, len(augmented[0])))
        warm_start(student, augmented[0].chosen(sample).activations)
        if start is not None:
            continue_from(student, start)
    minutes = train(student, teacher, augmented, recipe, state, on_progress)
    result = Distilled(
        bytes_per_image=spec.size_bytes,
        validation_accuracy=accuracy(student, teacher, validation),
        uncompressed_validation_accuracy=float(
            (validation.logits.argmax(1) == validation.labels).float().mean()
        ),
        training_minutes=minutes,
        memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )
    extra = {"after": after, "dataset": dataset.name, "distilled": json.dumps(asdict(result))}
    save_bottleneck(out, student.bottleneck, student.tuned_layers(), extra)
    return result


def _key(
    model: ChainModel,
    dataset: Dataset,
    spec: BottleneckSpec,
    sending: tuple[str, ...],
    receiving: tuple[str, ...],
) -> str:
    """Identity of a training: what an interrupted one shares with the one that continues it."""
    weights = frozen_sha256(model.state_dict())
    content = f"{weights} {dataset.name} {spec.model_dump_json()} {sending} {receiving}"
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def receiving_fringe(model: ChainModel, after: str, layers: int = 1) -> tuple[str, ...]:
    """The layers that receive what is sent after a layer; ``BadPartitionError`` without them."""
    receiving = split_after(model.layer_names, [after], model.residual).stages[1]
    if len(receiving) <= layers:
        raise BadPartitionError(
            f"after '{after}' there is no layer between {layers} of the fringe and the output"
        )
    return receiving[:layers]


def sending_fringe(model: ChainModel, after: str, layers: int = 1) -> tuple[str, ...]:
    """The layers that send; ``BadPartitionError`` where nothing is frozen before them."""
    sending = split_after(model.layer_names, [after], model.residual).stages[0]
    if len(sending) <= layers:
        raise BadPartitionError(
            f"up to '{after}' there is no frozen layer before {layers} of the fringe"
        )
    return sending[-layers:]
