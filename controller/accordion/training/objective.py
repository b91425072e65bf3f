"""Objectives of a training: the error on labels, or the distance to a network that is trained.

The paper trains on labels alone. Distilling every configuration from a full network (Hinton,
Vinyals and Dean, 2015) is more than the paper does and is reported apart from it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Loss of logits (N, classes) for images (N, C, H, W) with labels (N,)."""


def label_loss(logits: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy."""
    return F.cross_entropy(logits, labels)


@dataclass(frozen=True, eq=False)
class Distillation:
    """The teacher's softened answers, and the labels with the weight ``label_weight`` of 1."""

    teacher: nn.Module
    temperature: float = 4.0
    label_weight: float = 0.1

    def __call__(self, logits: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """The loss; the teacher is run in evaluation mode."""
        with torch.no_grad():
            wanted = self.teacher(images) / self.temperature
        reached = F.log_softmax(logits / self.temperature, 1)
        softly = F.kl_div(reached, F.softmax(wanted, 1), reduction="batchmean")
        soft_weight = (1 - self.label_weight) * self.temperature**2
        return soft_weight * softly + self.label_weight * F.cross_entropy(logits, labels)
