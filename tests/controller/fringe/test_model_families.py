"""What works on a residual network works on a VGG-type chain and on a transformer."""

from pathlib import Path

import pytest
import torch

from controller.distillation.distill import distil
from controller.distillation.training import DistillationRecipe
from controller.ladder.builder import build_ladder
from controller.ladder.cache import LadderRequest
from controller.split.partition import split_after
from stage_node.accordion.prefix import PrefixReader
from stage_node.accordion.prefix_writer import write_prefix_checkpoint
from stage_node.data import Dataset, load_dataset
from stage_node.fringe.bottleneck import BottleneckSpec, load_bottleneck
from stage_node.models import ChainModel, ModelSpec, build_model, save_checkpoint
from stage_node.models.frozen import frozen_sha256

VGG = ModelSpec(
    family="vgg", depth=8, width=8, classes=10, in_channels=1, image_size=8, downsample="max"
)
VIT = ModelSpec(family="vit", depth=3, width=8, classes=10, in_channels=1, image_size=8)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def initialised(spec: ModelSpec) -> ChainModel:
    torch.manual_seed(5)
    return build_model(spec).eval()


@pytest.mark.parametrize(
    ("spec", "after", "bottleneck"),
    [
        # The layer behind the cut, and so the fringe, is a convolution; one without weights; a
        # transformer block.
        (VGG, "conv2_0", BottleneckSpec(in_shape=(16, 4, 4), channels=4, bits=2, hidden=16)),
        (VGG, "conv1_1", BottleneckSpec(in_shape=(8, 8, 8), stride=2, channels=4, bits=2)),
        (VIT, "block0", BottleneckSpec(in_shape=(8, 4, 4), channels=4, bits=2, hidden=16)),
    ],
)
def test_a_bottleneck_is_distilled_and_nothing_but_the_fringe_is_tuned(
    spec: ModelSpec, after: str, bottleneck: BottleneckSpec, digits: Dataset, tmp_path: Path
) -> None:
    model = initialised(spec)
    before = frozen_sha256(model.state_dict())
    distil(
        model,
        digits,
        after,
        bottleneck,
        DistillationRecipe(epochs=1, batch=64),
        tmp_path / "work",
        tmp_path / "b.safetensors",
        versions=1,
    )
    assert frozen_sha256(model.state_dict()) == before
    tuned = load_bottleneck(tmp_path / "b.safetensors").layers
    behind = model.layer_names[model.layer_names.index(after) + 1]
    own = model.segment([behind]).state_dict()
    assert tuned.keys() == own.keys()
    learned = {name for name, _ in model.segment([behind]).named_parameters()}
    assert learned == {name for name in own if not torch.equal(tuned[name], own[name])}


@pytest.mark.parametrize(
    ("spec", "cuts"), [(VGG, ("conv1_1", "conv2_1")), (VIT, ("stem", "block1"))]
)
def test_a_ladder_is_built_for_its_cuts(
    spec: ModelSpec, cuts: tuple[str, ...], tmp_path: Path
) -> None:
    model = initialised(spec)
    save_checkpoint(tmp_path / "m.safetensors", model)
    built = build_ladder(
        LadderRequest(
            checkpoint=tmp_path / "m.safetensors",
            dataset="digits",
            stages=split_after(model.layer_names, cuts).stages,
            mechanisms=("width", "quantise", "zstd"),
            calibration_images=64,
            validation_images=50,
            batch=10,
        )
    )
    shapes = model.shapes()
    for ladder, cut in zip(built.table.ladders, cuts, strict=True):
        assert ladder.shape == shapes[cut][1:]
        assert min(rung.payload_bytes for rung in ladder.rungs) < ladder.raw_bytes / 4


@pytest.mark.parametrize(
    ("spec", "ladder"),
    [
        (VGG, [(2, 1, 1), (2, 2, 1), (2, 2, 2)]),
        (VGG.model_copy(update={"downsample": "pool"}), [(1, 0, 0), (2, 1, 0), (2, 2, 2)]),
        (VIT, [(1,), (2,), (3,)]),
    ],
)
def test_every_prefix_of_its_progressive_checkpoint_runs(
    spec: ModelSpec, ladder: list[tuple[int, ...]], tmp_path: Path
) -> None:
    model = initialised(spec)
    write_prefix_checkpoint(tmp_path / "m.safetensors", model, ladder)
    reader, images = PrefixReader(), torch.randn(2, 1, 8, 8)
    completed = reader.feed((tmp_path / "m.safetensors").read_bytes())
    assert completed == tuple(ladder)
    for configuration in ladder:
        expected = model.configured(configuration)(images)
        assert torch.equal(reader.load(configuration)(images), expected)
