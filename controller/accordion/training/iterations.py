"""Training of a network whose every configuration is to run: one configuration per iteration.

Stochastic gradient descent as in He et al. (CVPR 2016) and Ayed et al.: momentum 0.9, weight
decay 1e-4, a learning rate divided by 10 after half and after three quarters of the epochs. The
blocks that an iteration leaves out take no part in it: no forward, no gradient, no update.

Every epoch draws from a seed of its own, so that a training that was interrupted continues as if it
had not been.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from controller.accordion.training.compute import ALONE, Compute
from controller.accordion.training.objective import Objective, label_loss
from controller.accordion.training.sampling import Distribution, draw
from stage_node.data import Dataset, Split
from stage_node.models import ChainModel, Family

Schedule = Literal["steps", "cosine"]
SCHEDULES: tuple[Schedule, ...] = ("steps", "cosine")
WARM_UP = 0.02


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
    state: Path | None = None,
    hooks: Hooks = SILENT,
) -> ChainModel:
    """Train ``model`` in place and return it, on the processor and in evaluation mode.

    The same arguments give the same weights. With ``state`` what is reached is kept in that file
    after every epoch; where it exists, training continues from it.
    """
    compute.placed(model)
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
    )
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
    """The rate at a time counted in epochs: the paper's two steps, or a cosine after a warm-up."""
    if recipe.schedule == "steps":
        drops = (epoch >= recipe.epochs // 2) + (epoch >= recipe.epochs * 3 // 4)
        return recipe.learning_rate * 0.1**drops
    done = epoch / recipe.epochs
    if done < WARM_UP:
        return recipe.learning_rate * max(done, 1e-3) / WARM_UP
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


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
        yield compute.images(images), dataset.train.labels[chosen].to(compute.device)


def augmented(images: Tensor, max_shift: int, mirrors: bool) -> Tensor:
    """Each image (N, C, H, W) shifted by up to ``max_shift`` pixels and mirrored by chance."""
    count, _, height, width = images.shape
    # The edge is repeated: zero is no background once images are normalised.
    padded = F.pad(images, (max_shift,) * 4, mode="replicate")
    down, right = torch.randint(0, 2 * max_shift + 1, (2, count, 1))
    rows = (down + torch.arange(height)).view(count, 1, height, 1)
    columns = right + torch.arange(width)
    if mirrors:
        columns = torch.where(torch.rand(count, 1) < 0.5, columns, columns.flip(1))
    index = torch.arange(count).view(count, 1, 1, 1)
    channels = torch.arange(images.shape[1]).view(1, -1, 1, 1)
    return padded[index, channels, rows, columns.view(count, 1, 1, width)]


def evaluate(model: nn.Module, split: Split, batch: int = 256, compute: Compute = ALONE) -> float:
    """Share of a split's images that a model in evaluation mode classifies right."""
    model.eval()
    correct = 0
    with torch.inference_mode(), compute.precision():
        for begin in range(0, len(split), batch):
            logits = model(compute.images(split.images[begin : begin + batch])).cpu()
            correct += int((logits.argmax(1) == split.labels[begin : begin + batch]).sum())
    return correct / len(split)


def _seed(recipe: Recipe, epoch: int) -> int:
    return 1_000_003 * recipe.seed + epoch


def _keep(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, epochs: int) -> None:
    part = path.with_suffix(".part")
    kept = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epochs": epochs}
    torch.save(kept, part)
    part.replace(path)


def _restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Restore an interrupted training; returns the epochs that it had done, 0 if there was none."""
    with contextlib.suppress(FileNotFoundError):
        kept = torch.load(path, weights_only=True)
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        return int(kept["epochs"])
    return 0
