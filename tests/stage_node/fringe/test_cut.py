"""The encoder | decoder pair at a cut."""

import pytest
import torch

from stage_node.errors import BadModelError
from stage_node.fringe.cut import Cut

torch.manual_seed(0)
X = torch.randn(5, 12, 4, 4) * torch.linspace(3, 0.1, 12).view(1, -1, 1, 1)
PIXELS = X.permute(0, 2, 3, 1).reshape(-1, 12)
MEAN = PIXELS.mean(0)
BASIS = torch.linalg.svd(PIXELS - MEAN, full_matrices=True).Vh.T.contiguous()
CUT = Cut.from_tensors({"basis": BASIS, "mean": MEAN}, channels=12)


def test_all_channels_lose_nothing_but_rounding() -> None:
    assert torch.allclose(CUT.decoder(12)(CUT.encoder(12)(X)), X, atol=1e-5)


def test_a_narrow_cut_is_a_prefix_of_a_wide_one() -> None:
    assert torch.allclose(CUT.encoder(5)(X), CUT.encoder(12)(X)[:, :5], atol=1e-6)


@pytest.mark.parametrize("width", [1, 4, 11])
def test_principal_directions_lose_exactly_the_smallest_singular_values(width: int) -> None:
    """Eckart and Young (1936) is the oracle."""
    with torch.no_grad():
        error = (CUT.decoder(width)(CUT.encoder(width)(X)) - X).square().sum()
    singular = torch.linalg.svdvals((PIXELS - MEAN).double())
    assert error == pytest.approx(singular[width:].square().sum().item(), rel=1e-4)


@pytest.mark.parametrize(
    "tensors",
    [
        {"basis": BASIS},
        {"basis": BASIS[:, :5], "mean": MEAN},
        {"basis": BASIS, "mean": MEAN, "pickle": MEAN},
        {"basis": BASIS.double(), "mean": MEAN},
        {"basis": BASIS, "mean": MEAN / 0},
    ],
)
def test_anything_else_is_no_cut(tensors: dict[str, torch.Tensor]) -> None:
    with pytest.raises(BadModelError):
        Cut.from_tensors(tensors, channels=12)
