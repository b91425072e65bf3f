"""Training of a network whose every configuration is to run: one configuration per iteration.

Stochastic gradient descent as in He et al. (CVPR 2016) and Ayed et al.: momentum 0.9, weight
decay 1e-4, a learning rate divided by 10 after half and after three quarters of the epochs. The
blocks that an iteration leaves out take no part in it: no forward, no gradient, no update.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from controller.accordion.sampling import Distribution, draw
from stage_node.data import Dataset, Split
from stage_node.models import ChainModel, ModelSpec, build_model


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to train; ``seed`` fixes weights, order, shifts and configurations."""

    epochs: int = 60
    batch: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    seed: int = 0


@dataclass(frozen=True)
class EpochDone:
    """For a progress display: mean training loss, validation accuracy of the full model."""

    epoch: int
    epochs: int
    loss: float
    validation_accuracy: float


def train(
    spec: ModelSpec,
    dataset: Dataset,
    distribution: Callable[[ChainModel], Distribution],
    recipe: Recipe,
    on_epoch: Callable[[EpochDone], None] = lambda _: None,
) -> ChainModel:
    """A trained model, in evaluation mode; the same arguments give the same weights.

    ``distribution`` says which configurations of the new model are drawn, and how often.
    """
    torch.manual_seed(recipe.seed)
    random = Random(recipe.seed)
    model = build_model(spec)
    configurations = distribution(model)
    optimizer = torch.optim.SGD(
        model.parameters(),
        recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.MultiStepLR(
        optimizer, [recipe.epochs // 2, recipe.epochs * 3 // 4]
    )
    for epoch in range(recipe.epochs):
        model.train()
        losses = [
            train_step(model.configured(draw(configurations, random)), optimizer, images, labels)
            for images, labels in batches(dataset, recipe.batch)
        ]
        schedule.step()
        accuracy = evaluate(model, dataset.validation)
        on_epoch(EpochDone(epoch + 1, recipe.epochs, sum(losses) / len(losses), accuracy))
    return model.eval()


def train_step(
    configured: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> float:
    """One iteration on the blocks of one configuration; returns the loss."""
    optimizer.zero_grad(set_to_none=True)
    loss = F.cross_entropy(configured(images), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def batches(dataset: Dataset, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The training images in random order, augmented; an incomplete last batch is left out."""
    order = torch.randperm(len(dataset.train))
    for begin in range(0, len(order) - size + 1, size):
        chosen = order[begin : begin + size]
        images = augmented(dataset.train.images[chosen], dataset.max_shift, dataset.mirrors)
        yield images, dataset.train.labels[chosen]


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


def evaluate(model: nn.Module, split: Split, batch: int = 256) -> float:
    """Share of a split's images that a model in evaluation mode classifies right."""
    model.eval()
    correct = 0
    with torch.inference_mode():
        for begin in range(0, len(split), batch):
            logits = model(split.images[begin : begin + batch])
            correct += int((logits.argmax(1) == split.labels[begin : begin + batch]).sum())
    return correct / len(split)
