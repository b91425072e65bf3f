"""Train a network and write its prefix-runnable checkpoint with the look-up table beside it.

python -m controller.accordion.train --data digits --scheme coml --width 8 out.safetensors
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from controller.accordion.batchnorm import recalibrated
from controller.accordion.lookup import LookupTable, build_table, table_path
from controller.accordion.sampling import (
    SCHEMES,
    Scheme,
    ladder,
    scheme_distribution,
)
from controller.accordion.training import EpochDone, Hooks, Recipe, train
from stage_node.data import SOURCES, Dataset, load_dataset
from stage_node.errors import BadModelError
from stage_node.models import ModelSpec, build_model
from stage_node.prefix_writer import write_prefix_checkpoint


@dataclass(frozen=True)
class Training:
    """Everything a checkpoint depends on; its command line can be had back from it."""

    data: str = "digits"
    scheme: Scheme = "coml"
    p_full: float = 0.5
    depth: int = 20
    width: int = 16
    downsample: str = "pool"
    recipe: Recipe = field(default_factory=Recipe)

    def spec(self, dataset: Dataset) -> ModelSpec:
        """The model that fits the data set."""
        channels, size, _ = dataset.image_shape
        return ModelSpec.model_validate(
            {
                "depth": self.depth,
                "width": self.width,
                "downsample": self.downsample,
                "classes": len(dataset.classes),
                "in_channels": channels,
                "image_size": size,
            }
        )

    def command(self, checkpoint: Path) -> str:
        """The command that repeats this training."""
        options = {
            "data": self.data,
            "scheme": self.scheme,
            **({"p-full": self.p_full} if self.scheme != "resnet" else {}),
            "depth": self.depth,
            "width": self.width,
            "downsample": self.downsample,
            "epochs": self.recipe.epochs,
            "batch": self.recipe.batch,
            "learning-rate": self.recipe.learning_rate,
            "seed": self.recipe.seed,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return shlex.join(["python", "-m", "controller.accordion.train", *words, checkpoint.name])


def train_checkpoint(
    training: Training,
    checkpoint: Path,
    data_folder: Path | None = None,
    on_epoch: Callable[[EpochDone], None] = lambda _: None,
) -> LookupTable:
    """Train, write ``checkpoint`` and the table beside it; returns the table.

    BlockCoML's configurations each get their own BatchNorm statistics, counted in their bytes.
    """
    dataset = load_dataset(training.data, data_folder)

    torch.manual_seed(training.recipe.seed)
    model = build_model(training.spec(dataset))
    rungs = ladder(training.scheme, model.full_configuration, model.smallest_configuration)
    distribution = scheme_distribution(training.scheme, rungs, training.p_full)
    train(model, dataset, distribution, training.recipe, hooks=Hooks(on_epoch=on_epoch))
    statistics = (
        {c: recalibrated(model, c, dataset.train.images) for c in rungs}
        if training.scheme == "block-coml"
        else None
    )
    metadata = {"command": training.command(checkpoint), "dataset": training.data}
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    write_prefix_checkpoint(checkpoint, model, rungs, metadata, statistics)
    table = build_table(checkpoint, dataset)
    table_path(checkpoint).write_text(table.model_dump_json(indent=1) + "\n")
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit status 2 for arguments that make no sense."""
    options = _parser().parse_args(arguments)
    recipe = Recipe(options.epochs, options.batch, options.learning_rate, seed=options.seed)
    training = Training(
        data=options.data,
        scheme=options.scheme,
        p_full=options.p_full,
        depth=options.depth,
        width=options.width,
        downsample=options.downsample,
        recipe=recipe,
    )
    try:
        table = train_checkpoint(training, options.checkpoint, options.data_folder, _print_epoch)
    except BadModelError as error:
        print(f"train: {error}", file=sys.stderr)
        return error.exit_status
    print("configuration      bytes  validation accuracy         MACs")
    for entry in table.entries:
        name = "-".join(map(str, entry.configuration))
        print(f"{name:13} {entry.end_byte:10}  {entry.accuracy:19.4f} {entry.macs:12}")
    return 0


def _print_epoch(done: EpochDone) -> None:
    print(
        f"epoch {done.epoch}/{done.epochs}  loss {done.loss:.4f}  "
        f"validation accuracy {done.validation_accuracy:.4f}",
        flush=True,
    )


def _parser() -> argparse.ArgumentParser:
    defaults = Training()
    parser = argparse.ArgumentParser("controller.accordion.train", description=__doc__)
    add = parser.add_argument
    add("checkpoint", type=Path, help="the .safetensors file to write")
    add("--data", choices=sorted(SOURCES), default=defaults.data)
    add("--data-folder", type=Path, help="where archives lie")
    add("--scheme", choices=SCHEMES, default=defaults.scheme)
    add("--p-full", type=float, default=defaults.p_full, help="probability of the full model")
    add("--depth", type=int, default=defaults.depth, help="6n + 2")
    add("--width", type=int, default=defaults.width, help="channels of the first inner block")
    add("--downsample", choices=("option-a", "pool"), default=defaults.downsample)
    add("--epochs", type=int, default=defaults.recipe.epochs)
    add("--batch", type=int, default=defaults.recipe.batch)
    add("--learning-rate", type=float, default=defaults.recipe.learning_rate)
    add("--seed", type=int, default=defaults.recipe.seed)
    return parser


if __name__ == "__main__":
    sys.exit(main())
