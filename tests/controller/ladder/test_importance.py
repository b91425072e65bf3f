"""Which channels of a chain are worth keeping."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from controller.ladder.importance import channel_order


def receiving(scales: list[float]) -> nn.Conv2d:
    """Weights of equal norm for every channel, times its scale."""
    torch.manual_seed(0)
    conv = nn.Conv2d(len(scales), 5, 3, padding=1)
    norms = conv.weight.flatten(2).norm(dim=(0, 2), keepdim=True)
    conv.weight.data /= norms[..., None]
    conv.weight.data *= torch.tensor(scales).view(1, -1, 1, 1)
    return conv


@given(order=st.permutations(range(6)))
def test_the_channel_that_the_next_layer_weighs_most_is_kept_longest(order: list[int]) -> None:
    scales = [0.0] * 6
    for place, channel in enumerate(order):
        scales[channel] = 0.25**place
    activations = torch.rand(8, 6, 4, 4, generator=torch.Generator().manual_seed(1)) + 1
    found = channel_order(receiving(scales), activations)
    assert found.dtype == torch.int64 and found.tolist() == order


def test_a_channel_that_is_never_active_or_never_used_comes_last() -> None:
    activations = torch.rand(8, 3, 4, 4)
    activations[:, 1] = 0
    before = activations.clone()
    assert channel_order(receiving([1.0, 1.0, 1.0]), activations).tolist()[-1] == 1
    assert channel_order(receiving([0.0, 9.0, 9.0]), before.flip(1))[-1] in (0, 1)
    assert torch.equal(activations, before), "looked at, not changed"
