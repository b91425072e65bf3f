"""Accuracy of a model on a split."""

import torch
from torch import nn

from controller.accordion.compute import ALONE, Compute
from stage_node.data import Split


def evaluate(model: nn.Module, split: Split, batch: int = 256, compute: Compute = ALONE) -> float:
    """Share of a split's images that a model in evaluation mode classifies right."""
    model.eval()
    correct = torch.zeros((), dtype=torch.long, device=compute.device)
    with torch.inference_mode(), compute.precision():
        for begin in range(0, len(split), batch):
            logits = model(compute.images(split.images[begin : begin + batch]))
            labels = split.labels[begin : begin + batch].to(compute.device)
            correct += (logits.argmax(1) == labels).sum()
    return int(correct) / len(split)
