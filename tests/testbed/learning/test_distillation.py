"""``concertina distill``: from a wish to a module that an experiment can name."""

import sys
from pathlib import Path

import pytest
import yaml

from stage_node.data import load_dataset
from stage_node.fringe.bottleneck import load_bottleneck
from stage_node.models import load_checkpoint
from stage_node.models.checkpoint import read_metadata
from testbed.commands import cli
from testbed.experiment.file import CHECKPOINTS, find_experiment, load_experiment
from testbed.learning.distillation import DATA
from testbed.planning.checked import check_experiment

CHECKPOINT = CHECKPOINTS / "digits-resnet20.safetensors"
IN_DIGITS = ("digits-resnet20", "--data", "digits", "--after", "block2_2")
QUICK = ("--epochs", "1", "--versions", "1")


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Types a command; its exit status, and what it said."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")

    def typed(*arguments):
        line = ["concertina", "distill", *arguments, "--out", str(tmp_path / "b.safetensors")]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return typed


def test_a_bottleneck_within_a_byte_budget(tmp_path, command):
    weights = CHECKPOINT.read_bytes()
    status, said, _ = command(
        *IN_DIGITS, "--budget-bytes", "32", "--epochs", "2", "--versions", "2"
    )
    assert status == 0
    assert "32 bytes per image" in said and "validation accuracy" in said
    assert CHECKPOINT.read_bytes() == weights
    out = tmp_path / "b.safetensors"
    trained = load_bottleneck(out)
    assert trained.spec.size_bytes == 32
    assert {name.split(".")[1] for name in trained.layers} == {"block3_0"}
    assert read_metadata(out)["after"] == "block2_2"
    assert set(trained.layers) < set(load_checkpoint(CHECKPOINT).state_dict())


def test_an_experiment_says_which_model_data_link_and_batch(tmp_path, command):
    slow = ("--set", "network.backhaul={rate_mbit: 0.2, delay_ms: 2}")
    status, _, said = command("demo", "--after", "block2_2", "--latency-ms", "12", *QUICK, *slow)
    assert status == 0, said
    # 250 bytes of time: 66 of packet header, 64 of frame header, 10 images
    assert load_bottleneck(tmp_path / "b.safetensors").spec.size_bytes <= 12


def test_what_comes_out_serves_in_the_experiment(tmp_path, command):
    status, _, said = command("demo", "--after", "block2_2", "--budget-bytes", "16", *QUICK)
    assert status == 0, said
    section = yaml.safe_load(find_experiment(Path("demo")).read_text())
    section["pipeline"]["targets"]["mechanisms"] = ["width", "distill"]
    section["pipeline"]["modules"] = [
        {"name": "b", "after": "block2_2", "file": "b.safetensors"}
    ]  # beside the experiment file
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(section))
    experiment = load_experiment(tmp_path / "mine.yaml")
    check_experiment(experiment, "mine.yaml")
    assert experiment.pipeline
    assert experiment.pipeline.modules[0].file == str(tmp_path / "b.safetensors")


def test_more_fringe_layers_are_tuned_on_both_sides_when_asked(tmp_path, command):
    asked = ("--after", "block2_2", "--budget-bytes", "32", "--fringe-layers", "2", "--tune-sender")
    status, _, said = command("demo", *asked, *QUICK)
    assert status == 0, said
    trained = load_bottleneck(tmp_path / "b.safetensors")
    tuned = {name.split(".")[1] for name in trained.layers}
    assert tuned == {"block2_1", "block2_2", "block3_0", "block3_1"}


def test_the_modules_of_an_experiment_need_not_be_there_before_they_are_distilled(command):
    modules = (
        "--set", "pipeline.targets.mechanisms=[distill]",
        "--set", "pipeline.modules=[{name: b, after: block2_2, file: not-yet.safetensors}]",
    )  # fmt: skip
    status, _, said = command(
        "demo", "--after", "block2_2", "--budget-bytes", "32", *QUICK, *modules
    )
    assert status == 0, said


def test_the_help_names_the_data_set_that_is_taken_where_none_is_given(command):
    _, said, _ = command("--help")
    assert f"{DATA} (the default)" in said


def test_test_images_are_not_touched(command, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "stage_node.data.dataset.Dataset.split",
        lambda self, name: asked.append(name) or getattr(self, name),
    )
    assert load_dataset("digits").split("test")
    asked.clear()
    assert command("demo", "--after", "block2_2", "--budget-bytes", "32", *QUICK)[0] == 0
    assert set(asked) == {"train", "validation"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["demo"], "--after: missing; demo cuts after block1_2, block2_2"),
        (["demo", "--after", "block3_0"], "no cut after 'block3_0'"),
        (["demo", "--after", "block2_2"], "give one of --budget-bytes, --latency-ms"),
        (["demo", "--after", "block2_2", "--budget-bytes", "9", "--latency-ms", "9"], "give one"),
        (["demo", "--after", "block2_2", "--latency-ms", "1"], "the one-way delay alone is 2 ms"),
        (["demo", "--after", "block2_2", "--latency-ms", "2.001"], "nothing is left"),
        (["demo", "--after", "block2_2", "--budget-bytes", "0.5"], "too few"),
        (["demo", "--after", "block2_2", "--channels", "4", "--bits", "5"], "--bits"),
        (["demo", "--data", "digits"], "names its own data set"),
        (["accordion-star"], "no pipeline section"),
        (["nowhere.yaml"], "no such file"),
        (["digits-resnet20"], "--after: missing"),
        (["resnet56-00000000.th", "--after", "block2_8"], "pretrained_models/resnet56-00000000.th"),
        (["digits-resnet20", "--data", "digits", "--after", "block9"], "no layer 'block9'"),
        (["digits-resnet20", "--data", "digits", "--after", "head"], "nothing is left"),
        (["digits-resnet20", "--data", "digits", "--after", "block3_2"], "no layer between"),
        (
            ["digits-resnet20", "--data", "digits", "--after", "block2_2", "--latency-ms", "5"],
            "--rate-mbit: missing",
        ),
        (["digits-resnet20", "--after", "block2_2", "--data-folder", "/nowhere"], "/nowhere"),
        (["demo", "--set", "pipeline.dataset=cifar10", "--after", "block2_2"], "cifar10"),
        (["split-chain", "--set", "pipeline.hosts=[h1,h2,h9]"], "pipeline.hosts.2: no host 'h9'"),
        (["split-chain", "--set", "pipeline.split={stages: 5}"], "pipeline.split: 5 stages for 3"),
        (
            ["split-chain", "--set", "pipeline.targets.fringe_layers=50"],
            "targets.fringe_layers: 50",
        ),
        (["split-chain", "--set", "network.links=nowhere"], "network.links: profile 'nowhere'"),
        (["split-chaim"], "nor is there an experiment of that name (there are: accordion-"),
        ([*IN_DIGITS, "--budget-bytes", "32", "--minutes", "0"], "--minutes: must be more than 0"),
        ([*IN_DIGITS, "--budget-bytes", "32", "--batch", "5000"], "--batch: 5000 images, but"),
        (
            ["demo", "--after", "block2_2", "--latency-ms", "1", "--delay-ms", "2"],
            "1 ms: the one-way delay alone is 2 ms",
        ),
    ],
)
def test_a_request_that_makes_no_sense_is_one_line_and_status_2(command, wrong, message):
    status, _, error = command(*wrong)
    assert status == 2
    assert message in error
    assert error.count("\n") == 1
