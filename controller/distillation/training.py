"""Knowledge distillation of a bottleneck at a cut (US 2025/0265465 A1, [0047], claims 6 and 7).

The frozen original is the teacher. What is trained: encoder, decoder and copies of the fringe
layers, on cached activations of the frozen layers before them, with the quantiser in the loop.
The loss has three parts: the teacher's softened logits (Hinton, Vinyals and Dean, 2015), its
activation behind the fringe (FitNets, Romero et al., 2015) and the label. The model that is
compressed is only read: all its tensors are bit-identical afterwards.
"""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from controller.distillation.activations import Activations
from controller.distillation.simplified import channels_last, folded
from stage_node.fringe.bottleneck import Bottleneck, BottleneckSpec
from stage_node.models import ChainModel
from stage_node.models.chain import Segment

EVALUATION_BATCH = 500
LARGEST_GRADIENT = 1.0


@dataclass(frozen=True)
class DistillationRecipe:
    """Length and rate of a training.

    ``minutes`` bounds the wall clock, interruptions not counted: the learning rate falls to 0
    by then even if fewer epochs fit. In the first ``features_only`` share of the training the
    frozen layers behind the fringe are not run, which makes a step several times cheaper.
    """

    epochs: int = 12
    minutes: float = math.inf
    batch: int = 128
    learning_rate: float = 2e-3
    warm_up: float = 0.05
    features_only: float = 0.2
    temperature: float = 4.0
    feature_weight: float = 2.0
    label_weight: float = 0.5
    weight_decay: float = 1e-4
    seed: int = 0


@dataclass(frozen=True)
class DistillationProgress:
    """For a progress display: ``done`` is a share, ``loss`` the mean since the last report."""

    step: int
    done: float
    minutes: float
    loss: float


class Student(nn.Module):
    """The trained part: the bottleneck and copies of the fringe layers on both sides of it."""

    def __init__(
        self,
        model: ChainModel,
        spec: BottleneckSpec,
        receiving: Sequence[str],
        sending: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.sending = copy.deepcopy(model.segment(sending)) if sending else Segment({})
        self.bottleneck = Bottleneck(spec)
        self.receiving = copy.deepcopy(model.segment(receiving))

    def forward(self, x: Tensor) -> Tensor:
        """The activation behind the fringe, from the cached one before it."""
        y: Tensor = self.receiving(self.bottleneck(self.sending(x)))
        return y

    def tuned_layers(self) -> dict[str, Tensor]:
        """The tensors of the fringe layers, as ``layers.<layer>.<parameter>``."""
        return {**self.sending.state_dict(), **self.receiving.state_dict()}

    def train(self, mode: bool = True) -> "Student":
        """Training mode for the bottleneck; fringe layers keep their running statistics."""
        super().train(False)
        self.bottleneck.train(mode)
        return self


@dataclass(frozen=True, eq=False)
class Teacher:
    """The frozen original from the cached activation on: its fringe, and what lies behind."""

    fringe: Segment
    tail: Segment

    @classmethod
    def of(cls, model: ChainModel, fringe: Sequence[str]) -> "Teacher":
        """A copy of the layers ``fringe`` and of all behind them, made fast."""
        behind = model.layer_names[model.layer_names.index(fringe[-1]) + 1 :]
        return cls(folded(model.segment(fringe)), folded(model.segment(behind)))


def learning_rate(recipe: DistillationRecipe, done: float) -> float:
    """Linear warm-up, then a cosine down to 0 at ``done`` = 1."""
    if done < recipe.warm_up:
        return recipe.learning_rate * max(done, 1e-3) / recipe.warm_up
    share = (done - recipe.warm_up) / (1 - recipe.warm_up)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def loss_of(
    student: Student,
    teacher: Teacher,
    recipe: DistillationRecipe,
    batch: Activations,
    features_only: bool,
) -> Tensor:
    """The distillation loss of one batch."""
    x = channels_last(batch.activations)
    with torch.no_grad():
        target = teacher.fringe(x)
    reached = student(x)
    loss: Tensor = recipe.feature_weight * F.mse_loss(reached, target) / target.var()
    if features_only:
        return loss
    logits = teacher.tail(reached)
    softly = F.kl_div(
        F.log_softmax(logits / recipe.temperature, 1),
        F.softmax(batch.logits / recipe.temperature, 1),
        reduction="batchmean",
    )
    label = F.cross_entropy(logits, batch.labels)
    return loss + recipe.temperature**2 * softly + recipe.label_weight * label


def train(
    student: Student,
    teacher: Teacher,
    versions: Sequence[Activations],
    recipe: DistillationRecipe,
    state_path: Path,
    on_progress: Callable[[DistillationProgress], None] = lambda _: None,
    report_every: int = 50,
) -> float:
    """Train ``student`` in place; the minutes it took.

    ``versions`` are differently augmented activations of the same images: each epoch uses the
    next. The state is kept in ``state_path`` with every report; where that file exists, training
    continues from it.
    """
    student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        student.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    per_epoch = len(versions[0]) // recipe.batch
    step, spent_minutes = _restore(state_path, student, optimizer)
    begin = time.monotonic() - 60 * spent_minutes
    losses: list[float] = []
    student.train()
    while True:
        minutes = (time.monotonic() - begin) / 60
        done = max(step / (recipe.epochs * per_epoch), minutes / recipe.minutes)
        if step % report_every == 0 or done >= 1:
            _keep(state_path, student, optimizer, step, minutes)
            on_progress(
                DistillationProgress(step, done, minutes, sum(losses) / max(len(losses), 1))
            )
            losses = []
        if done >= 1:
            student.eval()
            return minutes
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, done)
        epoch, position = divmod(step, per_epoch)
        order = _order(len(versions[0]), recipe.seed, epoch)
        batch = versions[epoch % len(versions)].chosen(
            order[position * recipe.batch : (position + 1) * recipe.batch]
        )
        loss = loss_of(student, teacher, recipe, batch, done < recipe.features_only)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        # Fringe layers that were trained before can be thrown far off by a single batch.
        nn.utils.clip_grad_norm_(student.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        losses.append(loss.item())
        step += 1


@torch.inference_mode()
def accuracy(student: Student, teacher: Teacher, split: Activations) -> float:
    """Share of a split's images that are classified right through the bottleneck."""
    student.eval()
    correct = 0
    for begin in range(0, len(split), EVALUATION_BATCH):
        batch = split.chosen(torch.arange(begin, min(begin + EVALUATION_BATCH, len(split))))
        logits = teacher.tail(student(channels_last(batch.activations)))
        correct += int((logits.argmax(1) == batch.labels).sum())
    return correct / len(split)


def _order(count: int, seed: int, epoch: int) -> Tensor:
    """The order of an epoch, the same after an interruption."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + epoch)
    return torch.randperm(count, generator=generator)


def _keep(
    path: Path, student: Student, optimizer: torch.optim.Optimizer, step: int, minutes: float
) -> None:
    state: dict[str, Any] = {
        "student": student.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "minutes": minutes,
    }
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def _restore(path: Path, student: Student, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Step and minutes of a training that was interrupted; 0 where there was none."""
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    student.load_state_dict(state["student"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["minutes"]
