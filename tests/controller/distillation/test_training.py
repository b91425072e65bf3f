"""A fringe is trained against the frozen original, which stays what it was, bit for bit."""

import math

import pytest
import torch

from controller.distillation.activations import Activations
from controller.distillation.simplified import folded
from controller.distillation.start import continue_from, warm_start
from controller.distillation.training import (
    DistillationProgress,
    DistillationRecipe,
    Student,
    Teacher,
    accuracy,
    learning_rate,
    train,
)
from stage_node.errors import BadModelError
from stage_node.fringe.bottleneck import BottleneckSpec, bottleneck_from_tensors
from stage_node.models import ModelSpec, build_model
from stage_node.models.frozen import frozen_sha256

FRINGE = ("block3_0",)
SPEC = BottleneckSpec(in_shape=(8, 8, 8), stride=2, channels=4, bits=2, hidden=16)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = build_model(ModelSpec(depth=14, width=4, classes=4, in_channels=1, image_size=16))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


@pytest.fixture
def activations(model):
    x = torch.relu(torch.randn(256, 8, 8, 8))
    with torch.no_grad():
        logits = model.segment(["block3_0", "block3_1", "head"])(x)
    return Activations(x.half(), logits, logits.argmax(1))


def student_of(model, activations, spec=SPEC):
    torch.manual_seed(1)
    student = Student(model, spec, FRINGE)
    warm_start(student, activations.activations.float())
    return student


def quick(**changes):
    return DistillationRecipe(**{"epochs": 4, "batch": 32, "features_only": 0.3} | changes)


def test_only_the_fringe_is_trained_and_the_original_is_bit_identical(model, activations, tmp_path):
    before = frozen_sha256(model.state_dict())
    student, teacher = student_of(model, activations), Teacher.of(model, FRINGE)
    behind = frozen_sha256(teacher.tail.state_dict())
    train(student, teacher, [activations], quick(), tmp_path / "state")
    assert frozen_sha256(model.state_dict()) == before
    assert frozen_sha256(teacher.tail.state_dict()) == behind
    assert {name.split(".")[1] for name in student.tuned_layers()} == set(FRINGE)
    own = model.state_dict()
    changed = {name for name, t in student.tuned_layers().items() if not torch.equal(t, own[name])}
    assert "layers.block3_0.conv1.weight" in changed
    assert not any("running" in name for name in changed)


def test_training_brings_the_student_to_the_teacher(model, activations, tmp_path):
    student, teacher = student_of(model, activations), Teacher.of(model, FRINGE)
    before, losses = accuracy(student, teacher, activations), []
    train(
        student,
        teacher,
        [activations],
        quick(epochs=12, features_only=0),
        tmp_path / "state",
        lambda p: losses.append(p.loss),
        report_every=8,
    )
    assert accuracy(student, teacher, activations) > max(before, 0.5)
    assert losses[-1] < 0.7 * losses[1]


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(model, activations, tmp_path):
    def stop(progress: DistillationProgress) -> None:
        if progress.step == 12:
            raise KeyboardInterrupt

    teacher, ends = Teacher.of(model, FRINGE), []
    for name, interrupt in (("whole", False), ("halves", True)):
        student = student_of(model, activations)
        if interrupt:
            with pytest.raises(KeyboardInterrupt):
                train(student, teacher, [activations], quick(), tmp_path / name, stop, 4)
            student = Student(model, SPEC, FRINGE)
        train(student, teacher, [activations], quick(), tmp_path / name, report_every=4)
        ends.append(frozen_sha256({f"x.{k}": v for k, v in student.state_dict().items()}))
    assert ends[0] == ends[1]


def test_a_limit_in_minutes_ends_the_training_with_the_rate_at_zero(model, activations, tmp_path):
    seen = []
    student, teacher = student_of(model, activations), Teacher.of(model, FRINGE)
    recipe = quick(epochs=10**6, minutes=0.01)
    minutes = train(student, teacher, [activations], recipe, tmp_path / "s", seen.append, 1)
    assert 0.01 <= minutes < 0.1
    assert seen[-1].done >= 1
    assert learning_rate(recipe, seen[-1].done) == 0


def test_the_learning_rate_warms_up_and_falls_to_zero():
    recipe = DistillationRecipe()
    rates = [learning_rate(recipe, done / 1000) for done in range(1001)]
    top = rates.index(max(rates))
    assert top == 1000 * recipe.warm_up
    assert math.isclose(rates[top], recipe.learning_rate)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == 0


def test_folding_batch_normalisation_changes_no_function(model):
    x = torch.randn(3, 8, 8, 8)
    segment = model.segment(["block3_0", "block3_1", "head"])
    assert torch.allclose(folded(segment)(x), segment(x), atol=1e-5)


def test_a_linear_bottleneck_of_full_width_begins_at_the_identity(model, activations):
    spec = BottleneckSpec(in_shape=(8, 8, 8), channels=8, bits=8, hidden=0)
    student = student_of(model, activations, spec)
    x = activations.activations.float()
    error = (student.bottleneck(x) - x).abs()
    assert error.quantile(0.99) < 0.05


def test_codes_begin_spread_over_all_levels(model, activations):
    student = student_of(model, activations)
    codes = student.bottleneck.encoder(activations.activations.float())
    shares = (codes * 3).round().flatten().long().bincount(minlength=4) / codes.numel()
    assert shares.min() > 0.1


def test_a_wider_bottleneck_begins_where_a_narrower_one_ended(model, activations):
    narrow = student_of(model, activations)
    trained = bottleneck_from_tensors(
        SPEC, {**narrow.bottleneck.state_dict(), **narrow.tuned_layers()}
    )
    wide = student_of(model, activations, SPEC.model_copy(update={"channels": 7}))
    continue_from(wide, trained)
    x = activations.activations.float()
    assert torch.allclose(wide.eval()(x), narrow.eval()(x), atol=1e-5)
    with pytest.raises(BadModelError, match="does not begin"):
        continue_from(student_of(model, activations, SPEC.model_copy(update={"bits": 4})), trained)


def test_a_narrower_bottleneck_begins_with_the_first_codes_of_a_wider_one(model, activations):
    wide = student_of(model, activations)
    trained = bottleneck_from_tensors(SPEC, {**wide.bottleneck.state_dict(), **wide.tuned_layers()})
    narrow = student_of(model, activations, SPEC.model_copy(update={"channels": 3}))
    continue_from(narrow, trained)
    x = activations.activations.float()
    codes = narrow.eval().bottleneck.encoder(x)
    assert torch.allclose(codes, wide.eval().bottleneck.encoder(x)[:, :3], atol=1e-6)


def test_the_last_layer_of_the_sender_can_be_trained_too(model, activations, tmp_path):
    spec = BottleneckSpec(in_shape=(16, 4, 4), channels=4, bits=4, hidden=16)
    student = Student(model, spec, ["block3_1"], sending=["block3_0"])
    warm_start(student, activations.activations.float())
    teacher = Teacher.of(model, ["block3_0", "block3_1"])
    train(student, teacher, [activations], quick(), tmp_path / "state")
    assert {name.split(".")[1] for name in student.tuned_layers()} == {"block3_0", "block3_1"}
    own = model.state_dict()["layers.block3_0.conv2.weight"]
    assert not torch.equal(student.tuned_layers()["layers.block3_0.conv2.weight"], own)
