"""Training of a network whose every configuration is to run: one configuration per iteration.

Stochastic gradient descent as in He et al. (CVPR 2016) and Ayed et al.: momentum 0.9, weight
decay 1e-4, a learning rate divided by 10 after half and after three quarters of the epochs. The
blocks that an iteration leaves out take no part in it: no forward, no gradient, no update.

Every epoch draws from a seed of its own, so that a training that was interrupted continues as if it
had not been.
"""

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from random import Random
from typing import Literal

import torch
from torch import Tensor, nn

from controller.accordion.accuracy import evaluate
from controller.accordion.compute import ALONE, Compute
from controller.accordion.training.objective import Objective, label_loss
from controller.accordion.training.sampling import Distribution, draw
from controller.errors import ControllerError
from controller.keeping.whole_file import whole_file
from stage_node.data import Dataset
from stage_node.data.augmentation import augmented
from stage_node.models import ChainModel, Family

Schedule = Literal["steps", "cosine", "one-cycle"]
SCHEDULES: tuple[Schedule, ...] = ("steps", "cosine", "one-cycle")
WARM_UP = {"cosine": 0.02, "one-cycle": 0.25}
"""Share of the epochs in which the learning rate rises."""


@dataclass(frozen=True)
class Recipe:
    """Length and rate of a training; ``seed`` fixes weights, order, shifts and configurations.

    ``batch`` counts the images of one iteration, over all processes together. The first
    ``frozen_blocks`` inner blocks, and what lies before them, stay as they are, their BatchNorm
    statistics too: what is learned then is the rest, for a fraction of the work.
    """

    epochs: int = 60
    batch: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: Schedule = "steps"
    seed: int = 0
    frozen_blocks: int = 0


class BadStateError(ControllerError):
    """The state of an interrupted training cannot be continued from."""

    exit_status = 2


@dataclass(frozen=True)
class Kept:
    """The file that an unfinished training continues from, and the command that it belongs to."""

    file: Path
    command: str


@dataclass(frozen=True)
class EpochDone:
    """For logs: mean training loss, learning rate, validation accuracy of the full model."""

    epoch: int
    epochs: int
    loss: float
    learning_rate: float
    validation_accuracy: float


@dataclass(frozen=True)
class Hooks:
    """Listeners to the progress: the shares of configurations, once there is something to
    train; every iteration (done, of how many in all); every epoch."""

    on_begin: Callable[[Distribution], None] = lambda _: None
    on_step: Callable[[int, int], None] = lambda *_: None
    on_epoch: Callable[[EpochDone], None] = lambda _: None


SILENT = Hooks()


def train(
    model: ChainModel,
    dataset: Dataset,
    distribution: Distribution,
    recipe: Recipe,
    objective: Objective = label_loss,
    compute: Compute = ALONE,
    state: Kept | None = None,
    hooks: Hooks = SILENT,
) -> ChainModel:
    """Train ``model`` in place and return it, on the processor and in evaluation mode.

    The same arguments give the same weights. With ``state`` what is reached is kept in its file
    after every epoch; where it exists, training continues from it. ``BadStateError`` where it is of
    another training.
    """
    compute.placed(model)
    dataset = compute.holding(dataset)
    frozen = frozen_layers(model, recipe.frozen_blocks)
    optimizer = torch.optim.SGD(
        [
            parameter
            for name, layer in model.layers.items()
            if name not in frozen
            for parameter in layer.parameters()
        ],
        recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    for group in optimizer.param_groups:
        for parameter in group["params"]:  # the fused step needs it of all, whichever come first
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    first = _restore(state, model, optimizer) if state else 0
    per_epoch = len(dataset.train) // recipe.batch
    if first < recipe.epochs:
        hooks.on_begin(distribution)
    for epoch in range(first, recipe.epochs):
        torch.manual_seed(_seed(recipe, epoch))
        random = Random(_seed(recipe, epoch))
        _set_training(model, frozen)
        losses = []
        for position, (images, labels) in enumerate(batches(dataset, recipe.batch, compute)):
            step = epoch * per_epoch + position
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step / per_epoch)
            configured = model.configured(draw(distribution, random))
            losses.append(train_step(configured, optimizer, images, labels, objective, compute))
            hooks.on_step(step + 1, recipe.epochs * per_epoch)
        if compute.leads:
            if state:
                _keep(state, model, optimizer, epoch + 1)
            hooks.on_epoch(
                EpochDone(
                    epoch + 1,
                    recipe.epochs,
                    loss=float(torch.stack(losses).mean()),
                    learning_rate=learning_rate(recipe, epoch),
                    validation_accuracy=evaluate(model, dataset.validation, compute=compute),
                )
            )
    return model.cpu().eval()


def frozen_layers(model: ChainModel, blocks: int) -> tuple[str, ...]:
    """The names of all layers up to the end of the first ``blocks`` inner blocks.

    ``ValueError`` where nothing would be left to learn.
    """
    inner = Family.of(model.spec).inner_blocks(model.spec)
    if blocks >= len(inner):
        raise ValueError(
            f"of {len(inner)} inner blocks at most {len(inner) - 1} can be frozen, not {blocks}"
        )
    names = model.layer_names
    first = names.index(inner[blocks][0]) if blocks else 0
    return names[:first]


def _set_training(model: ChainModel, frozen: tuple[str, ...]) -> None:
    """All layers learn but the frozen ones, which take no gradient and keep their statistics."""
    model.train()
    for name in frozen:
        model.layers[name].eval().requires_grad_(False)


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """Learning rate at a time in epochs: the paper's two steps; a rise, then half a cosine; or a
    longer rise, then a straight line down (Smith and Topin, 2019)."""
    done = epoch / recipe.epochs
    if recipe.schedule == "steps":
        drops = (epoch >= recipe.epochs // 2) + (epoch >= recipe.epochs * 3 // 4)
        return recipe.learning_rate * 0.1**drops
    warm_up = WARM_UP[recipe.schedule]
    if done < warm_up:
        return recipe.learning_rate * max(done, 1e-3) / warm_up
    left = (1 - done) / (1 - warm_up)
    if recipe.schedule == "one-cycle":
        return recipe.learning_rate * left
    return recipe.learning_rate * 0.5 * (1 - math.cos(math.pi * left))


def train_step(
    configured: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    objective: Objective = label_loss,
    compute: Compute = ALONE,
) -> Tensor:
    """One iteration on the blocks of one configuration; returns the loss."""
    optimizer.zero_grad(set_to_none=True)
    with compute.precision():
        loss = objective(configured(images), images, labels)
    loss.backward()  # type: ignore[no-untyped-call]
    compute.average_gradients(configured.parameters())
    optimizer.step()
    return loss.detach()


def batches(
    dataset: Dataset, size: int, compute: Compute = ALONE
) -> Iterator[tuple[Tensor, Tensor]]:
    """The training images in random order, augmented; an incomplete last batch is left out.

    Under several processes each gets its own part of every batch of ``size``.
    """
    order = torch.randperm(len(dataset.train))
    for begin in range(0, len(order) - size + 1, size):
        chosen = compute.share(order[begin : begin + size])
        images = augmented(dataset.train.images[chosen], dataset.max_shift, dataset.mirrors)
        yield compute.images(images), dataset.train.labels[chosen]


def _seed(recipe: Recipe, epoch: int) -> int:
    return 1_000_003 * recipe.seed + epoch


def _keep(kept: Kept, model: nn.Module, optimizer: torch.optim.Optimizer, epochs: int) -> None:
    content = io.BytesIO()
    reached = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epochs": epochs}
    torch.save(reached | {"command": kept.command}, content)
    with whole_file(kept.file) as part:
        part.write_bytes(content.getbuffer())


def _restore(kept: Kept, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Epochs that an interrupted training had done; 0 if there was none."""
    if not kept.file.exists():
        return 0
    try:
        reached = torch.load(kept.file, weights_only=True)
        command, epochs = str(reached["command"]), int(reached["epochs"])
    except (OSError, EOFError, RuntimeError, LookupError, TypeError, UnpicklingError):
        raise BadStateError(
            f"{kept.file}: no state of an interrupted training, or damaged; remove it to begin anew"
        ) from None
    if command != kept.command:
        raise BadStateError(
            f"{kept.file} is of another training: {command}; end that one, or remove the file"
        )
    model.load_state_dict(reached["model"])
    optimizer.load_state_dict(reached["optimizer"])
    return epochs
