"""Distil a bottleneck at a cut of a trained model; only fringe layers are trained.

python -m controller.distill MODEL.safetensors --data cifar10 --after block2_8 \
    --budget-bytes 192 --minutes 30 --out bottleneck-192.safetensors

An interrupted training goes on when the command is given again.
"""

import argparse
import json
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from controller.distill_cache import ActivationCache
from controller.distill_start import continue_from, warm_start
from controller.distill_training import Progress, Recipe, Student, Teacher, accuracy, train
from controller.errors import BadPartitionError, ControllerError
from controller.partition import split_after
from stage_node.bottleneck import (
    BottleneckSpec,
    TrainedBottleneck,
    choose_bottleneck,
    load_bottleneck,
    save_bottleneck,
)
from stage_node.data import SOURCES, Dataset, load_dataset
from stage_node.errors import StageNodeError
from stage_node.models import ChainModel, load_model

CALIBRATION_IMAGES = 1500
VERSIONS = 5


@dataclass(frozen=True)
class Distilled:
    """What came out of a distillation and what it cost.

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
    recipe: Recipe,
    work: Path,
    out: Path,
    versions: int = VERSIONS,
    start: TrainedBottleneck | None = None,
    fringe_layers: int = 1,
    tune_sender: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
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
    validation = cache.split("validation", 0, lambda share: on_caching("validation", share))
    teacher = Teacher.of(model, (*sending, *receiving))
    student = Student(model, spec, receiving, sending)
    state = work / f"{out.stem}.state"
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


def receiving_fringe(model: ChainModel, after: str, layers: int = 1) -> tuple[str, ...]:
    """The layers that receive what is sent after a layer; ``BadPartitionError`` without them."""
    receiving = split_after(model.layer_names, [after]).stages[1]
    if len(receiving) <= layers:
        raise BadPartitionError(
            f"after '{after}' there is no layer between {layers} of the fringe and the output"
        )
    return receiving[:layers]


def sending_fringe(model: ChainModel, after: str, layers: int = 1) -> tuple[str, ...]:
    """The layers that send; ``BadPartitionError`` where nothing is frozen before them."""
    sending = split_after(model.layer_names, [after]).stages[0]
    if len(sending) <= layers:
        raise BadPartitionError(
            f"up to '{after}' there is no frozen layer before {layers} of the fringe"
        )
    return sending[-layers:]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit status 2 for arguments that make no sense."""
    options = _parser().parse_args(arguments)
    try:
        model = load_model(options.model)
        dataset = load_dataset(options.data, options.data_folder)
        receiving_fringe(model, options.after, options.fringe_layers)
        _, channels, height, width = model.shapes()[options.after]
        spec = _spec(options, (channels, height, width))
        recipe = Recipe(
            options.epochs,
            options.minutes,
            options.batch,
            learning_rate=options.learning_rate,
            features_only=options.features_only,
            seed=options.seed,
        )
        print(f"{spec.size_bytes} bytes per image: {spec.model_dump_json()}")
        result = distil(
            model,
            dataset,
            options.after,
            spec,
            recipe,
            options.work,
            options.out,
            options.versions,
            load_bottleneck(options.start) if options.start else None,
            options.fringe_layers,
            options.tune_sender,
            _print_progress,
            _print_caching,
        )
    except (StageNodeError, ControllerError) as error:
        print(f"distill: {error}", file=sys.stderr)
        return error.exit_status
    print(json.dumps(asdict(result), indent=1))
    return 0


def _spec(options: argparse.Namespace, shape: tuple[int, int, int]) -> BottleneckSpec:
    if options.budget_bytes is not None:
        return choose_bottleneck(options.budget_bytes, shape)
    return BottleneckSpec(
        in_shape=shape,
        stride=options.stride,
        channels=options.channels,
        bits=options.bits,
        hidden=options.hidden,
    )


def _print_progress(progress: Progress) -> None:
    print(
        f"step {progress.step}  {progress.done:6.1%}  {progress.minutes:.1f} min  "
        f"loss {progress.loss:.4f}",
        flush=True,
    )


def _print_caching(what: str, share: float) -> None:
    if round(share * 100) % 20 == 0:
        print(f"activations of {what}: {share:.0%}", flush=True)


def _parser() -> argparse.ArgumentParser:
    defaults = Recipe()
    parser = argparse.ArgumentParser("controller.distill", description=__doc__)
    add = parser.add_argument
    add("model", type=Path, help="a checkpoint, or a .th file of akamaster's CIFAR ResNets")
    add("--out", type=Path, required=True, help="the .safetensors file to write")
    add("--after", required=True, help="the last layer before the cut")
    add("--data", choices=sorted(SOURCES), default="cifar10")
    add("--data-folder", type=Path, help="where archives lie")
    add("--budget-bytes", type=float, help="choose the architecture by its bytes per image")
    add("--stride", type=int, choices=(1, 2), default=2)
    add("--channels", type=int, default=12)
    add("--bits", type=int, choices=(8, 6, 4, 2), default=2)
    add("--hidden", type=int, default=64, help="width of inner layers; 0: linear, from a PCA")
    add("--epochs", type=int, default=defaults.epochs)
    add("--minutes", type=float, default=defaults.minutes, help="end and anneal by then")
    add("--batch", type=int, default=defaults.batch)
    add("--learning-rate", type=float, default=defaults.learning_rate)
    add("--features-only", type=float, default=defaults.features_only,
        help="share of the training in which the layers behind the fringe are not run")  # fmt: skip
    add("--start", type=Path, help="a bottleneck of the same form to begin at")
    add("--fringe-layers", type=int, default=1, help="layers behind the cut that are tuned")
    add("--tune-sender", action="store_true", help="tune as many layers before the cut too")
    add("--versions", type=int, default=VERSIONS, help="augmented versions of the train split")
    add("--seed", type=int, default=defaults.seed)
    add("--work", type=Path, default=Path(".cache/distill"), help="activations and state")
    return parser


if __name__ == "__main__":
    sys.exit(main())
