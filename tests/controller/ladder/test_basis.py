"""The basis of a cut: every prefix is the best linear code of its width."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from controller.ladder.basis import Basis, Moments, calibrate, principal_basis
from controller.split.partition import split_after
from stage_node.models import ModelSpec, build_model


def activation(images: int = 40, channels: int = 6, seed: int = 0) -> Tensor:
    """Correlated channels with an offset, like those after a ReLU."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(channels, channels, generator=generator)
    sources = torch.randn(images, 4, 4, channels, generator=generator)
    return torch.relu(sources @ mixing + 0.5).movedim(-1, 1)


def basis_of(x: Tensor) -> Basis:
    return principal_basis(Moments.of(x))


def restored(x: Tensor, basis: Basis, width: int) -> Tensor:
    """Encode and decode, pixel by pixel."""
    directions = basis.vectors[:, :width]
    code = (x.movedim(1, -1) - basis.mean) @ directions
    return (code @ directions.T + basis.mean).movedim(-1, 1)


@pytest.mark.parametrize("width", range(7))
def test_no_linear_code_of_the_same_width_restores_better(width: int) -> None:
    x = activation()
    vectors = x.movedim(1, -1).reshape(-1, 6).double().numpy()
    singular_values = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False)
    least_error = float((singular_values[width:] ** 2).sum())  # Eckart and Young, 1936
    error = (restored(x, basis_of(x), width) - x).double().square().sum().item()
    assert error == pytest.approx(least_error, rel=1e-4, abs=1e-6)


def test_variance_ratios_are_those_of_the_singular_values() -> None:
    x = activation()
    vectors = x.movedim(1, -1).reshape(-1, 6).double().numpy()
    energies = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False) ** 2
    np.testing.assert_allclose(basis_of(x).variance_ratio, energies / energies.sum(), rtol=1e-9)


@given(channels=st.integers(1, 8), seed=st.integers(0, 1000))
def test_the_directions_are_orthonormal_ordered_and_signed(channels: int, seed: int) -> None:
    basis = basis_of(activation(5, channels, seed))
    torch.testing.assert_close(
        basis.vectors.T @ basis.vectors, torch.eye(channels), rtol=0, atol=1e-6
    )
    assert (basis.variance_ratio.diff() <= 0).all()
    largest = basis.vectors.gather(0, basis.vectors.abs().argmax(dim=0)[None])
    assert (largest > 0).all()


def test_the_full_width_is_the_identity_up_to_rounding() -> None:
    x = activation()
    torch.testing.assert_close(restored(x, basis_of(x), 6), x, rtol=0, atol=1e-5)


def test_a_constant_activation_has_a_basis_and_no_variance() -> None:
    basis = basis_of(torch.full((3, 4, 2, 2), 1.5))
    assert basis.variance_ratio.tolist() == [0, 0, 0, 0]
    assert basis.mean.tolist() == [1.5] * 4


@given(split=st.integers(1, 39))
def test_the_basis_does_not_depend_on_how_images_are_batched(split: int) -> None:
    x = activation()
    whole = Moments.of(x)
    parts = Moments.none(6).merged(Moments.of(x[:split])).merged(Moments.of(x[split:]))
    assert parts.count == whole.count
    torch.testing.assert_close(parts.mean, whole.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(parts.scatter, whole.scatter, rtol=1e-9, atol=1e-9)


def test_calibration_measures_the_activation_that_really_crosses_each_cut() -> None:
    torch.manual_seed(1)
    spec = ModelSpec(depth=8, width=4, classes=10, in_channels=1, image_size=8)
    model = build_model(spec).eval()
    partition = split_after(model.layer_names, ["block1_0", "block2_0"])
    images = torch.randn(20, 1, 8, 8)
    first, second = calibrate(model, partition, images.split(8))
    with torch.inference_mode():
        crossing = model.segment(partition.stages[0])(images)
        then = model.segment(partition.stages[1])(crossing)
    torch.testing.assert_close(first.basis.mean, crossing.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(second.basis.mean, then.mean(dim=(0, 2, 3)))
    assert (first.basis.channels, second.basis.channels) == (4, 8)
    assert first.vectors.shape[1] == 4 and len(first.vectors) <= 20 * 8 * 8
    with torch.inference_mode():
        assert first.cut.encoder(4)(crossing).mean(dim=(0, 2, 3)).abs().max() < 1e-5
