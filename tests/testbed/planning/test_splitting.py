"""How an experiment says where its model is cut, and what is told when it cannot be cut there."""

import math
from pathlib import Path

import pytest
import yaml

from controller.split.placement import Placement
from stage_node.models import ModelSpec, build_model, save_checkpoint
from testbed.errors import BadExperimentError
from testbed.experiment.file import validate_experiment
from testbed.experiment.networks import build_network
from testbed.planning.checked import check_experiment
from testbed.planning.processes import plan_pipelines
from testbed.planning.splitting import connections_of

RESNET = ModelSpec(depth=8, width=4, classes=10, in_channels=1, image_size=8)
SPECS = {
    "resnet": RESNET,
    "vgg": RESNET.model_copy(update={"family": "vgg", "downsample": "max"}),
    "vit": RESNET.model_copy(update={"family": "vit", "depth": 3}),
}


@pytest.fixture(params=["resnet"])
def raw(request: pytest.FixtureRequest, tmp_path: Path) -> dict:
    """An experiment on a chain of a slow and a fast link, with an untrained model."""
    save_checkpoint(tmp_path / "m.safetensors", build_model(SPECS[request.param]))
    text = f"""
        name: t
        network:
          shape: chain
          hosts: [h1, h2, h3]
          links: [{{rate_mbit: 2, delay_ms: 5}}, {{rate_mbit: 100, delay_ms: 1}}]
        pipeline:
          model: {tmp_path}/m.safetensors
          hosts: [h1, h2, h3]
          split: auto
          batch: 4
          targets: {{max_accuracy_loss_points: 1, bandwidth_reduction: 2}}
    """
    return yaml.safe_load(text)


def plan(raw: dict):
    experiment = validate_experiment(raw, "x.yaml")
    check_experiment(experiment, "x.yaml")
    assert experiment.pipeline is not None
    return plan_pipelines(check_experiment(experiment, "x.yaml"))[0]


def complaint(raw: dict) -> str:
    with pytest.raises(BadExperimentError) as error:
        check_experiment(validate_experiment(raw, "x.yaml"), "x.yaml")
    assert error.value.exit_status == 2
    (line,) = str(error.value).splitlines()
    return line


def test_machines_get_the_numbers_of_layers_that_the_file_says(raw: dict) -> None:
    raw["pipeline"]["split"] = {"layers": [1, 3, 1]}
    planned = plan(raw)
    assert planned.partition.stages == (
        ("stem",), ("block1_0", "block2_0", "block3_0"), ("head",),
    )  # fmt: skip
    assert planned.placement is None


def test_an_automatic_split_is_planned_with_all_that_it_rests_on(raw: dict) -> None:
    raw["pipeline"]["speeds"] = {"h1": 0.5}
    planned = plan(raw)
    placement = planned.placement
    assert placement is not None
    assert planned.partition == placement.partition
    assert [device.speed for device in placement.costs.devices] == [0.5, 1, 1]
    assert [c.rate_mbit for c in placement.costs.connections] == [2, 100]
    assert [c.delay_ms for c in placement.costs.connections] == [5, 1]
    assert [layer.name for layer in placement.costs.layers] == [
        "stem", "block1_0", "block2_0", "block3_0", "head",
    ]  # fmt: skip
    assert all(layer.compute_ms > 0 for layer in placement.costs.layers)
    # 4 images of 4x8x8 floats and a header take 16.6 ms over the slow link, later layers' half
    # and less: whatever this machine is like, the first cut is as late as it can be.
    assert placement.partition.cuts == ("block2_0", "block3_0")
    assert Placement.model_validate(placement.model_dump(mode="json")) == placement


def test_whoever_asks_again_is_told_the_same(raw: dict) -> None:
    assert plan(raw) == plan(raw)


def test_a_path_is_as_slow_as_its_slowest_link_and_as_long_as_all_of_them() -> None:
    raw = {"shape": "star", "hosts": ["a", "b"], "links": {
        "a": {"rate_mbit": 8, "delay_ms": 3, "up": {"rate_mbit": 5}},
        "b": {"rate_mbit": 6, "delay_ms": 4},
    }}  # fmt: skip
    experiment = {"name": "t", "network": raw, "accordion": {
        "model": "m", "server": "a", "downloads": [{"ue": "b", "steps": [{"all": True}]}],
    }}  # fmt: skip
    network = build_network(validate_experiment(experiment, "x.yaml").network)
    (there,), (back,) = connections_of(network, ["a", "b"]), connections_of(network, ["b", "a"])
    assert (there.rate_mbit, back.rate_mbit) == (5, 6)
    assert math.isclose(there.delay_ms, 7)


@pytest.mark.parametrize(
    ("raw", "place", "parts"),
    [
        (
            "resnet",
            "block2_0.conv1",
            ["sever the skip connection of block2_0", "after 'block1_0' or after 'block2_0'"],
        ),
        (
            "vit",
            "block1.attention",
            ["sever the skip connection of block1", "after 'block0' or after 'block1'"],
        ),
        (
            "vgg",
            "conv2_0.conv",
            ["conv2_0, which runs as a whole", "after 'pool2' or after 'conv2_0'"],
        ),
    ],
    indirect=["raw"],
)
def test_a_cut_inside_a_layer_is_refused_before_anything_starts(
    raw: dict, place: str, parts: list[str]
) -> None:
    raw["pipeline"]["split"] = {"after": [place, "head"]}
    line = complaint(raw)
    assert line.startswith(f"x.yaml: pipeline.split: cuts: '{place}' lies inside ")
    assert all(part in line for part in parts)
    assert ("skip" in line) == ("sever" in parts[0])


@pytest.mark.parametrize(
    ("split", "speeds", "said"),
    [
        ("automatic", {}, "pipeline.split: give auto, or one of stages"),
        ({"auto": True, "stages": 2}, {}, "pipeline.split: give auto, or one of stages"),
        ({"layers": [2, 2, 2]}, {}, "pipeline.split: layers: 2 + 2 + 2 = 6 layers"),
        ({"layers": [2, 3]}, {}, "pipeline.split: 2 stages for 3 hosts"),
        ("auto", {"h4": 0.5}, "pipeline.speeds: no stage runs on 'h4' (there are: h1, h2, h3)"),
        ("auto", {"h1": 0}, "pipeline.speeds.h1: input should be greater than 0"),
        ({"stages": 3}, {"h1": 0.5}, "pipeline: speeds: only `split: auto` reckons with them"),
    ],
)
def test_a_split_that_makes_no_sense_is_one_line(
    raw: dict, split: object, speeds: dict, said: str
) -> None:
    raw["pipeline"] |= {"split": split, "speeds": speeds}
    assert said in complaint(raw)


def test_an_automatic_split_is_no_second_mistake_beside_an_unknown_host(raw: dict) -> None:
    raw["pipeline"]["hosts"] = ["h1", "h2", "h9"]
    assert "pipeline.hosts.2: no host 'h9'" in complaint(raw)
