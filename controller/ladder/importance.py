"""Importance of a plain chain's channels: how much the layer behind the cut would miss them.

A channel is as important as the change of the receiving fringe layers' output where it alone is
left out, squared and averaged over calibration images: the statistics of the next layer guide the
pruning of this one (ThiNet: Luo, Wu and Lin, ICCV 2017, section 3.2), each channel judged for
itself as in the oracle of Molchanov et al. (ICLR 2017, section 2.2). One order serves every number
of channels, so that a step down moves no weights.
"""

import torch
from torch import Tensor, nn

IMAGES = 128


@torch.inference_mode()
def channel_order(receiving: nn.Module, activations: Tensor) -> Tensor:
    """Indices (C,) int64 of the channels of ``activations`` (N, C, H, W), the most important for
    ``receiving`` first. The first ``IMAGES`` are looked at."""
    x = activations[:IMAGES].clone()
    whole = receiving(x)
    missed = []
    for channel in range(x.shape[1]):
        own = x[:, channel].clone()
        x[:, channel] = 0
        missed.append((receiving(x) - whole).square().mean())
        x[:, channel] = own
    return torch.stack(missed).argsort(descending=True, stable=True)
