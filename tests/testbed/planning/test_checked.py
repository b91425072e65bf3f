"""A file is checked once, and all its mistakes are reported in one pass."""

from pathlib import Path

import pytest

from testbed.errors import BadExperimentError
from testbed.experiment import networks
from testbed.experiment.network_section import listed_hosts
from testbed.planning import validation
from testbed.planning.checked import CheckedExperiment, checked_file
from testbed.planning.processes import plan_pipelines

GOOD = """
name: small
network:
  shape: chain
  hosts: [ue, edge, server]
  links: {rate_mbit: 8, delay_ms: 10}
pipeline:
  model: digits-resnet20
  hosts: [ue, server]
  split: {after: [block2_2]}
  targets: {max_accuracy_loss_points: 2, bandwidth_reduction: 2}
accordion:
  model: digits-resnet20-coml
  server: server
  downloads: [{ue: ue, steps: [{deadline_ms: 120}]}]
"""


def mistakes(folder: Path, *changes: tuple[str, str]) -> list[str]:
    """The lines that the file is refused with, without its name."""
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    file = folder / "e.yaml"
    file.write_text(text)
    with pytest.raises(BadExperimentError) as refused:
        checked_file(file)
    lines = str(refused.value).splitlines()
    assert all(line.startswith(f"{file}: ") for line in lines)
    return [line.removeprefix(f"{file}: ") for line in lines]


RATE = ("rate_mbit: 8", "rate_mbit: -8")
MODEL = ("model: digits-resnet20-coml", "model: digits-nothing")
HOST = ("hosts: [ue, server]", "hosts: [ue, nowhere]")
DEADLINE = ("deadline_ms: 120", "deadline_ms: 0")
FIELD = ("bandwidth_reduction: 2", "bandwidth_reduktion: 2")


def test_form_and_form(tmp_path):
    rate, deadline = mistakes(tmp_path, RATE, DEADLINE)
    assert rate.startswith("network.links.rate_mbit: ")
    assert deadline.startswith("accordion.downloads.0.steps.0.deadline_ms: ")


def test_form_of_one_section_and_sense_of_the_others(tmp_path):
    rate, model = mistakes(tmp_path, RATE, MODEL)
    assert rate.startswith("network.links.rate_mbit: ")
    assert model.startswith("accordion.model: no checkpoint 'digits-nothing'")


def test_form_of_a_pipeline_and_sense_of_the_network_and_of_the_delivery(tmp_path):
    server = ("server: server", "server: nowhere")
    told = mistakes(tmp_path, FIELD, MODEL, server)
    assert [line.partition(": ")[0] for line in told] == [
        "pipeline.targets.bandwidth_reduktion",
        "accordion.server",
        "accordion.model",
    ]


@pytest.mark.parametrize("rate", [RATE, ("links: {rate_mbit: 8, delay_ms: 10}", "links: moon")])
def test_hosts_are_known_though_their_links_are_wrong(tmp_path, rate):
    server = ("server: server", "server: somewhere")
    told = mistakes(tmp_path, rate, HOST, server)
    assert [line.partition(": ")[0] for line in told][1:] == [
        "pipeline.hosts.1",
        "accordion.server",
    ]
    assert "no host 'nowhere' in the network (there are: ue, edge, server)" in told[1]


@pytest.mark.parametrize(
    ("section", "hosts"),
    [
        ({"shape": "edge-cloud"}, ("ue1", "edge", "cloud")),
        ({"shape": "edge-cloud", "ues": ["a", "b"]}, ("a", "b", "edge", "cloud")),
        ({"shape": "star", "hosts": ["a", "b"]}, ("a", "b")),
        ({"shape": "chain", "hosts": ["a", 2]}, ()),
        ({"shape": "chain", "hosts": "a"}, ()),
        ({"shape": "tree", "nodes": {"a": ["b"]}}, ()),
        (None, ()),
    ],
)
def test_listed_hosts(section, hosts):
    assert listed_hosts(section) == hosts


def test_sense_and_sense(tmp_path):
    told = mistakes(tmp_path, HOST, MODEL)
    assert [line.partition(": ")[0] for line in told] == ["pipeline.hosts.1", "accordion.model"]


def test_a_pipeline_by_its_name(tmp_path):
    one = GOOD[GOOD.index("pipeline:") : GOOD.index("accordion:")].splitlines()[1:]
    first = ["  first:", *(f"  {line}" for line in one)]
    second = ["  second:", *(f"  {line}" for line in one)]
    second[2] = second[2].replace("[ue, server]", "[edge, nowhere]")
    first[-1] = first[-1].replace("bandwidth_reduction: 2", "bandwidth_reduction: -2")
    block = "\n".join(["pipelines:", *first, *second]) + "\n"
    told = mistakes(tmp_path, (GOOD[GOOD.index("pipeline:") : GOOD.index("accordion:")], block))
    assert [line.partition(": ")[0] for line in told] == [
        "pipelines.first.targets.bandwidth_reduction",
        "pipelines.second.hosts.1",
    ]


def test_relative_paths_of_a_sound_section_are_sought_beside_the_file(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    from testbed.experiment.file import CHECKPOINTS

    (tmp_path / "mine.safetensors").symlink_to(CHECKPOINTS / "digits-resnet20-coml.safetensors")
    own = ("model: digits-resnet20-coml", "model: mine.safetensors")
    told = mistakes(tmp_path, RATE, own)
    assert [line for line in told if "no checkpoint" in line] == []


def test_network_and_models_are_built_once(tmp_path, monkeypatch):
    built: list[str] = []

    def counting(name, made):
        return lambda *arguments: built.append(name) or made(*arguments)

    monkeypatch.setattr(validation, "build_network", counting("network", networks.build_network))
    monkeypatch.setattr(validation, "load_model", counting("model", validation.load_model))
    monkeypatch.setattr(validation, "split_of", counting("split", validation.split_of))
    file = tmp_path / "e.yaml"
    file.write_text(GOOD)
    checked = checked_file(file)
    assert isinstance(checked, CheckedExperiment)
    (plan,) = plan_pipelines(checked)
    assert plan.partition == checked.pipelines["pipeline"].split.partition
    assert sorted(built) == ["model", "model", "network", "split"]  # two models are named
