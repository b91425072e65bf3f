"""Augmentation of training images: random shifts and mirror images."""

import torch
from torch import Tensor
from torch.nn import functional as F


def augmented(images: Tensor, max_shift: int, mirrors: bool) -> Tensor:
    """Shift images (N, C, H, W) by up to ``max_shift`` pixels and mirror them by chance, which is
    drawn on the processor: every device draws the same."""
    count, _, height, width = images.shape
    # The edge is repeated: zero is no background once images are normalised.
    padded = F.pad(images, (max_shift,) * 4, mode="replicate")
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    down, right = torch.randint(0, 2 * max_shift + 1, (2, count)).to(images.device)
    shifted = windows[torch.arange(count, device=images.device), :, down, right]
    if not mirrors:
        return shifted
    as_it_is = (torch.rand(count, 1, 1, 1) < 0.5).to(images.device)
    return torch.where(as_it_is, shifted, shifted.flip(3))
