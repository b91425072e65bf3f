"""Training: what an iteration leaves out is not touched; the same seed gives the same weights."""

import errno
import os
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from controller.accordion.accuracy import evaluate
from controller.accordion.training.batchnorm import recalibrated
from controller.accordion.training.iterations import (
    BadStateError,
    Hooks,
    Kept,
    Recipe,
    learning_rate,
    train,
    train_step,
)
from controller.accordion.training.objective import Distillation
from controller.accordion.training.sampling import full_or_uniform, ladder
from controller.keeping.whole_file import NotWrittenError
from stage_node.data import Dataset, Split
from stage_node.data.augmentation import augmented
from stage_node.models import ModelSpec, build_model

SPEC = ModelSpec(depth=14, width=2, classes=2, in_channels=1, image_size=8, downsample="pool")


def stripes(count: int, seed: int) -> Split:
    """Noisy images with bright rows (0) or bright columns (1)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    rows = torch.zeros(8, 8)
    rows[::2] = 2
    pattern = torch.stack([rows, rows.T])[labels]
    return Split((pattern + torch.randn(count, 8, 8, generator=generator)).unsqueeze(1), labels)


STRIPES = Dataset("stripes", ("rows", "columns"), (1, 8, 8),
                  lambda name: stripes(64, len(name)))  # fmt: skip


FULL = (2, 2, 2)


def trained(recipe, dataset=STRIPES, distribution=None, **more):
    torch.manual_seed(recipe.seed)
    model = build_model(SPEC)
    half_full = full_or_uniform(ladder("coml", FULL), 0.5)
    return train(model, dataset, distribution or half_full, recipe, **more)


def test_blocks_left_out_get_no_gradient_and_do_not_move():
    torch.manual_seed(0)
    model = build_model(SPEC).train()
    # Momentum and weight decay would move a parameter that only had a zero gradient.
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-2)
    batch = STRIPES.train.images, STRIPES.train.labels
    train_step(model, optimizer, *batch)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train_step(model.configured((2, 1, 0)), optimizer, *batch)
    kept = model.subset((2, 1, 0))
    for name, parameter in model.named_parameters():
        trained = name.split(".")[1] in kept
        assert (parameter.grad is not None) == trained, name
    for name, tensor in model.state_dict().items():
        if name.split(".")[1] not in kept:
            assert torch.equal(tensor, before[name]), name
    assert not torch.equal(model.state_dict()["layers.head.linear.weight"],
                           before["layers.head.linear.weight"])  # fmt: skip


def test_blocks_may_be_drawn_for_the_first_time_after_others():
    """The optimiser's first step has another set of blocks than its second."""
    for seed in range(4):  # small first or whole first, as chance has it
        trained(Recipe(epochs=1, batch=8, seed=seed), distribution={(1, 0, 0): 0.5, FULL: 0.5})


def test_frozen_inner_blocks_stay_to_the_last_statistic_and_the_rest_learns():
    torch.manual_seed(0)
    before = {name: tensor.clone() for name, tensor in build_model(SPEC).state_dict().items()}
    after = trained(Recipe(epochs=1, batch=32, seed=0, frozen_blocks=1)).state_dict()
    moved = {name.split(".")[1] for name, tensor in after.items() if not before[name].equal(tensor)}
    assert moved == {"block2_0", "block2_1", "block3_0", "block3_1", "head"}


def test_all_inner_blocks_cannot_be_frozen():
    with pytest.raises(ValueError, match="of 3 inner blocks at most 2 can be frozen, not 3"):
        trained(Recipe(epochs=1, batch=32, frozen_blocks=3))


def test_training_learns_is_repeatable_and_reports_every_epoch():
    seen = []
    recipe = Recipe(epochs=12, batch=16, learning_rate=0.05, seed=4)
    model = trained(recipe, hooks=Hooks(on_epoch=seen.append))
    again = trained(recipe)
    assert [done.epoch for done in seen] == list(range(1, 13))
    assert seen[-1].validation_accuracy == evaluate(model, STRIPES.validation) > 0.8
    assert all(
        torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items()
    )
    other = trained(Recipe(epochs=1, batch=16, seed=5))
    assert not torch.equal(
        other.state_dict()["layers.stem.conv.weight"], model.state_dict()["layers.stem.conv.weight"]
    )


def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(tmp_path):
    class StruckError(Exception):
        pass

    def strike(done):
        if done.epoch == 2:
            raise StruckError

    recipe = Recipe(epochs=4, batch=16, learning_rate=0.05, schedule="cosine", seed=1)
    with pytest.raises(StruckError):
        trained(recipe, state=Kept(tmp_path / "state", "train"), hooks=Hooks(on_epoch=strike))
    seen = []
    resumed = trained(
        recipe, state=Kept(tmp_path / "state", "train"), hooks=Hooks(on_epoch=seen.append)
    )
    assert [done.epoch for done in seen] == [3, 4]
    through = trained(recipe)
    for name, tensor in through.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file, "is of another training: train --scheme coml; end that one"),
        (lambda file: file.write_bytes(file.read_bytes()[:99]), "or damaged; remove it to begin"),
        (lambda file: file.write_bytes(b""), "or damaged; remove it to begin"),
    ],
    ids=["another command", "cut off", "empty"],
)
def test_what_another_training_left_is_refused_and_stays(tmp_path, damage, message):
    file = tmp_path / "x.state"
    trained(Recipe(epochs=1, batch=32), state=Kept(file, "train --scheme coml"))
    damage(file)
    before = file.read_bytes()
    with pytest.raises(BadStateError, match=message):
        trained(Recipe(epochs=1, batch=32), state=Kept(file, "train --scheme resnet"))
    assert file.read_bytes() == before


def test_a_full_disk_leaves_the_state_before_and_nothing_half_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    kept = Kept(tmp_path / "x.state", "train")
    trained(Recipe(epochs=1, batch=32), state=kept)
    before = kept.file.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(NotWrittenError, match=r"x.state: cannot be written: No space left"):
        trained(Recipe(epochs=2, batch=32), state=kept)
    assert [file.name for file in tmp_path.iterdir()] == ["x.state"]
    assert kept.file.read_bytes() == before


def test_one_cycle_rises_for_a_quarter_and_falls_straight_to_nothing():
    recipe = Recipe(epochs=20, learning_rate=0.2, schedule="one-cycle")
    rates = [learning_rate(recipe, epoch) for epoch in (0, 2.5, 5, 12.5, 20)]
    assert rates == pytest.approx([0.0008, 0.1, 0.2, 0.1, 0])


def test_the_learning_rate_falls_as_the_paper_says_or_along_a_cosine():
    steps = Recipe(epochs=164, learning_rate=0.1)
    assert [learning_rate(steps, e) for e in (0, 81.9, 82, 122, 123, 163)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )
    cosine = Recipe(epochs=100, learning_rate=0.1, schedule="cosine")
    rates = [learning_rate(cosine, e) for e in range(2, 101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert all(a > b for a, b in pairwise(rates))
    assert learning_rate(cosine, 1) == pytest.approx(0.05)


def test_a_distilled_network_follows_its_teacher_and_not_the_labels():
    teacher = trained(Recipe(epochs=12, batch=16, learning_rate=0.05, seed=4))

    def lying(name):
        return Split(stripes(64, len(name)).images, torch.zeros(64).long())

    student = trained(
        Recipe(epochs=12, batch=16, learning_rate=0.05),
        Dataset("lies", ("a", "b"), (1, 8, 8), lying),
        objective=Distillation(teacher, label_weight=0),
    )
    assert evaluate(student, STRIPES.validation) > 0.8


def test_test_data_is_never_read():
    def no_test(name):
        assert name != "test"
        return stripes(32, 1)

    trained(Recipe(epochs=1, batch=16), Dataset("s", ("a", "b"), (1, 8, 8), no_test))


def test_an_image_is_shifted_and_mirrored_but_never_torn():
    torch.manual_seed(0)
    image = torch.arange(1.0, 65).view(1, 1, 8, 8)
    out = augmented(image.expand(200, 1, 8, 8), max_shift=2, mirrors=True)
    padded = torch.nn.functional.pad(image, (2,) * 4, mode="replicate")[0, 0]
    windows = [padded[r : r + 8, c : c + 8] for r in range(5) for c in range(5)]
    possible = {w.numpy().tobytes() for w in windows + [w.flip(1) for w in windows]}
    seen = {picture[0].numpy().tobytes() for picture in out}
    assert seen <= possible
    assert len(seen) > 25
    assert torch.equal(augmented(image, max_shift=0, mirrors=False), image)


def test_recalibration_measures_the_configuration_and_leaves_the_model_alone():
    model = trained(Recipe(epochs=1, batch=16))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    statistics = recalibrated(model, (1, 1, 1), STRIPES.train.images, batch=64)
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    assert {name.split(".")[1] for name in statistics} == {
        "stem",
        "block1_0",
        "block2_0",
        "block3_0",
    }
    convolved = model.layers["stem"].conv(STRIPES.train.images)
    assert torch.allclose(statistics["layers.stem.bn.running_mean"], convolved.mean((0, 2, 3)))
    assert torch.allclose(statistics["layers.stem.bn.running_var"], convolved.var((0, 2, 3)))


def test_frozen_layers_keep_their_statistics_and_the_others_are_measured_behind_them():
    model = trained(Recipe(epochs=1, batch=16))
    own = dict(model.named_buffers())
    statistics = recalibrated(model, (1, 1, 1), STRIPES.train.images, ("stem", "block1_0"))
    kept = {name for name, tensor in statistics.items() if tensor.equal(own[name])}
    assert {name.split(".")[1] for name in kept} == {"stem", "block1_0"}
    assert {name.split(".")[1] for name in statistics.keys() - kept} == {"block2_0", "block3_0"}


def test_coml_needs_no_statistics_per_configuration():
    """Every block sees the same input in all the configurations that have it."""
    model = trained(Recipe(epochs=1, batch=16))
    full = recalibrated(model, (2, 2, 2), STRIPES.train.images)
    for configuration in ladder("coml", (2, 2, 2)):
        for name, tensor in recalibrated(model, configuration, STRIPES.train.images).items():
            assert torch.equal(tensor, full[name])
