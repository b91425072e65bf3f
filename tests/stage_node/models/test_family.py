"""Adding a model means writing one file: what a family says of itself is all that is needed."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

import stage_node.models
from stage_node.errors import BadModelError
from stage_node.models import (
    Family,
    FamilyOptions,
    ModelSpec,
    build_model,
    discover_families,
    load_checkpoint,
    save_checkpoint,
)


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, type[Family]]:
    """The families there are, and those of one test, which later tests do not see."""
    families = dict(Family.registry)
    monkeypatch.setattr(Family, "registry", families)
    return families


class Mix(nn.Module):
    """Each pixel's channels mixed, and so many times over."""

    def __init__(self, channels_in: int, channels_out: int, repeats: int = 1) -> None:
        super().__init__()
        self.linear = nn.Conv2d(channels_in, channels_out, 1)
        self.repeats = repeats

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.repeats):
            x = self.linear(x)
        return x


class Flat(nn.Module):
    """Logits from the mean over the pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def make_toy() -> type[Family]:
    class ToyOptions(FamilyOptions):
        repeats: int = Field(1, gt=0)

    class Toy(Family):
        name = "toy"
        options = ToyOptions

        @staticmethod
        def layers(spec: ModelSpec) -> dict[str, Callable[[], nn.Module]]:
            repeats = ToyOptions.of(spec).repeats
            (blocks,) = Toy.inner_blocks(spec)
            return {
                "in": partial(Mix, spec.in_channels, spec.width),
                **dict.fromkeys(blocks, partial(Mix, spec.width, spec.width, repeats)),
                "out": partial(Mix, spec.width, spec.classes),
                "logits": Flat,
            }

        @staticmethod
        def inner_blocks(spec: ModelSpec) -> tuple[tuple[str, ...], ...]:
            return (tuple(f"mix{i}" for i in range(spec.depth)),)

        @staticmethod
        def skippable(spec: ModelSpec) -> frozenset[str]:
            return frozenset(*Toy.inner_blocks(spec))

        @staticmethod
        def residual(spec: ModelSpec) -> frozenset[str]:
            return frozenset()

    return Toy


TOY = ModelSpec(
    family="toy", depth=2, width=3, classes=4, in_channels=1, image_size=8, options={"repeats": 2}
)


def test_a_family_is_a_chain_with_shapes_compute_and_configurations():
    make_toy()
    model = build_model(TOY)
    assert model.layer_names == ("in", "mix0", "mix1", "out", "logits")
    assert model.shapes()["mix1"] == (1, 3, 8, 8)
    assert model.macs() == {"in": 192, "mix0": 1152, "mix1": 1152, "out": 768, "logits": 0}
    assert model.configured((1,)).layer_names == ("in", "mix0", "out", "logits")
    assert model(torch.zeros(5, 1, 8, 8)).shape == (5, 4)


def test_a_family_has_checkpoints_with_its_own_options(tmp_path):
    make_toy()
    model = build_model(TOY).eval()
    save_checkpoint(tmp_path / "toy.safetensors", model)
    copy = load_checkpoint(tmp_path / "toy.safetensors")
    assert copy.spec == TOY
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(copy(images), model(images))


def test_a_family_checks_its_options():
    make_toy()
    with pytest.raises(BadModelError, match="repeats: Input should be greater than 0"):
        build_model(TOY.model_copy(update={"options": {"repeats": 0}}))


def test_a_family_is_found_by_the_place_of_its_file_alone(tmp_path, registry, monkeypatch):
    shutil.copy(Path(__file__).with_name("programs") / "renamed.py", tmp_path)
    monkeypatch.setattr(stage_node.models, "__path__", [*stage_node.models.__path__, str(tmp_path)])
    discover_families()
    assert registry["renamed"].__module__ == "stage_node.models.renamed"
    assert registry.keys() >= {"resnet", "vgg", "vit"}
