"""Frozen layers run once for each image and version; what is kept is what they compute."""

import pytest
import torch

from controller.distillation.activations import ActivationCache
from stage_node.data import load_dataset
from stage_node.models import ModelSpec, build_model


@pytest.fixture
def cache(tmp_path):
    torch.manual_seed(0)
    spec = ModelSpec(depth=8, width=4, classes=10, in_channels=1, image_size=8)
    return ActivationCache(tmp_path, build_model(spec).eval(), load_dataset("digits"), "block2_0")


def test_kept_activations_are_those_of_the_layers(cache):
    kept = cache.split("validation")
    images = cache.dataset.validation.images
    names = cache.model.layer_names
    with torch.no_grad():
        expected = cache.model.segment(names[: names.index("block2_0") + 1])(images)
        logits = cache.model(images)
    some = kept.chosen(torch.tensor([3, 299, 0]))
    assert some.activations.dtype == torch.float32
    assert torch.allclose(some.activations, expected[[3, 299, 0]], rtol=1e-3, atol=1e-3)
    assert torch.allclose(some.logits, logits[[3, 299, 0]], atol=1e-5)
    assert torch.equal(kept.labels, cache.dataset.validation.labels)


def test_layers_run_once_and_not_again(cache):
    shares = []
    first = cache.split("validation", 0, shares.append)
    assert shares[-1] == 1
    again = cache.split("validation", 0, lambda _: pytest.fail("computed twice"))
    assert torch.equal(first.activations, again.activations)


def test_versions_differ_and_each_is_always_the_same(cache, tmp_path):
    plain, one, two = (cache.split("train", version).activations for version in (0, 1, 2))
    assert not torch.equal(plain, one)
    assert not torch.equal(one, two)
    elsewhere = ActivationCache(tmp_path / "other", cache.model, cache.dataset, cache.after)
    assert torch.equal(elsewhere.split("train", 1).activations, one)


def test_other_weights_have_other_files(cache):
    before = cache.split("validation").activations
    with torch.no_grad():
        cache.model.layers["stem"].conv.weight.mul_(2)
    assert not torch.equal(cache.split("validation").activations, before)
