"""Two split models and two delivered ones share one network at the same time, in the microVM."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console

from stage_node.data import load_dataset
from stage_node.models import load_model
from stage_node.records.events import ConfigurationEvaluated, Measurement, Reached, read_events
from testbed.planning.checked import checked_file
from testbed.experiment.named_models import checkpoint_path
from testbed.hosts.choose import HostWish
from stage_node.records.run_directory import RunDirectory
from testbed.run.runner import run_experiment

pytestmark = [pytest.mark.microvm, pytest.mark.usefixtures("kernel")]

IMAGES = 300
"""All of the test split: wherever a window begins, it holds each image once."""

MODELS = {"resnet": "digits-resnet20", "vit": "digits-vit4"}
EXPERIMENT = f"""
name: several
together: true
network:
  shape: star
  hosts: [server, near, far, phone, watch]
  links: {{rate_mbit: 10, delay_ms: 5}}
pipelines:
  resnet:
    model: {MODELS["resnet"]}
    hosts: [phone, near]
    split: {{after: [block2_2]}}
    measured_images: {IMAGES}
    batch: 20
    targets: {{max_accuracy_loss_points: 2, bandwidth_reduction: 2}}
  vit:
    model: {MODELS["vit"]}
    hosts: [watch, far]
    split: {{after: [block2]}}
    measured_images: {IMAGES}
    batch: 20
    targets: {{mechanisms: [quantise], max_accuracy_loss_points: 2, bandwidth_reduction: 4}}
accordion:
  model: digits-resnet20-coml
  server: server
  measured_images: 40
  downloads:
    - {{ue: near, steps: [{{all: true}}]}}
    - {{ue: far, model: OTHER, steps: [{{all: true}}]}}
"""


@torch.inference_mode()
def single_process_accuracy(model: str) -> float:
    """What the whole model reaches on the test images that the windows are measured on."""
    test = load_dataset("digits").test
    assert len(test) == IMAGES
    predicted = load_model(checkpoint_path(model)).eval()(test.images).argmax(1)
    return int((predicted == test.labels).sum()) / IMAGES


def test_each_of_several_models_is_right_as_often_as_alone_and_serves_beside_the_others(
    tmp_path: Path,
) -> None:
    other = tmp_path / "elsewhere" / "other.safetensors"
    other.parent.mkdir()
    other.write_bytes(checkpoint_path("digits-resnet20-coml").read_bytes())
    file, out = tmp_path / "several.yaml", tmp_path / "out"
    file.write_text(EXPERIMENT.replace("OTHER", str(other)))
    run_experiment(checked_file(file), HostWish("microvm", "virtual"), out, Console(quiet=True))

    summary = json.loads((out / "summary.json").read_text())
    assert summary["problems"] == [] and summary["together"] is True
    assert (out / "plots" / "sharing.svg").exists()
    assert [pipeline["name"] for pipeline in summary["pipelines"]] == list(MODELS)
    for pipeline in summary["pipelines"]:
        before, after = pipeline["windows"]
        alone = single_process_accuracy(MODELS[pipeline["name"]])
        assert before["accuracy"] == {"value": alone, "images": IMAGES, "split": "test"}
        assert after["cuts"][0]["wire_bytes"] < 0.6 * before["cuts"][0]["wire_bytes"]
        assert pipeline["frozen_unchanged"] is True
        assert pipeline["breakdown"]["frames"] > 2 * IMAGES / 20

    downloads = summary["accordion"]["downloads"]
    assert {(each["ue"], each["model"]) for each in downloads} == {
        ("near", "digits-resnet20-coml"), ("far", "other")
    }  # fmt: skip
    events = list(read_events(RunDirectory(out).events))
    ready = max(e.t_ns for e in events if isinstance(e, Reached) and e.point == "ready")
    assert all(e.begin_ns >= ready for e in events if isinstance(e, Measurement))
    assert all(e.t_ns >= ready for e in events if isinstance(e, ConfigurationEvaluated))
    repeated = yaml.safe_load((out / "experiment.yaml").read_text())
    assert repeated["pipeline"] is None and set(repeated["pipelines"]) == set(MODELS)
