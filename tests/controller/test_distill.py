"""The command distils a bottleneck of a shipped model and says what it cost."""

import json
from pathlib import Path

import pytest

from controller import distill
from stage_node.bottleneck import load_bottleneck
from stage_node.models import load_checkpoint
from stage_node.models.checkpoint import read_metadata

CHECKPOINT = Path(distill.__file__).parents[1] / "testbed/checkpoints/digits-resnet20.safetensors"


def command(tmp_path, *more):
    return [
        str(CHECKPOINT), "--data", "digits", "--after", "block2_2", "--epochs", "2",
        "--versions", "2", "--work", str(tmp_path / "work"),
        "--out", str(tmp_path / "out.safetensors"), *more,
    ]  # fmt: skip


def test_a_bottleneck_within_a_byte_budget(tmp_path, capsys):
    weights = CHECKPOINT.read_bytes()
    assert distill.main(command(tmp_path, "--budget-bytes", "32")) == 0
    out = capsys.readouterr().out
    result = json.loads(out[out.index("{\n") :])
    assert result["bytes_per_image"] <= 32
    assert result["validation_accuracy"] > 0.5
    assert result["training_minutes"] > 0
    assert result["memory_mib"] > 100
    assert CHECKPOINT.read_bytes() == weights
    trained = load_bottleneck(tmp_path / "out.safetensors")
    assert trained.spec.size_bytes == result["bytes_per_image"]
    assert {name.split(".")[1] for name in trained.layers} == {"block3_0"}
    assert read_metadata(tmp_path / "out.safetensors")["after"] == "block2_2"
    assert set(trained.layers) < set(load_checkpoint(CHECKPOINT).state_dict())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--after", "block9"], "no layer 'block9'"),
        (["--after", "head"], "nothing is left"),
        (["--after", "block3_2"], "no layer between"),
        (["--budget-bytes", "0.5"], "too few"),
        (["--data-folder", "/nowhere", "--data", "cifar10"], "/nowhere"),
    ],
)
def test_a_request_that_makes_no_sense_is_one_line_and_status_2(tmp_path, capsys, wrong, message):
    assert distill.main(command(tmp_path, *wrong)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_more_fringe_layers_are_tuned_on_both_sides_when_asked(tmp_path, capsys):
    more = ["--budget-bytes", "32", "--epochs", "1", "--fringe-layers", "2", "--tune-sender"]
    assert distill.main(command(tmp_path, *more)) == 0
    trained = load_bottleneck(tmp_path / "out.safetensors")
    tuned = {name.split(".")[1] for name in trained.layers}
    assert tuned == {"block2_1", "block2_2", "block3_0", "block3_1"}
