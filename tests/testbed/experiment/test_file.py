"""An experiment file is good, or each of its mistakes is one line with file and field."""

from pathlib import Path

import pytest
import yaml

from testbed.errors import BadExperimentError
from testbed.experiment.file import (
    find_experiment,
    load_experiment,
    shipped_experiments,
    validate_experiment,
)
from testbed.experiment.network_section import LinkOverrides
from testbed.experiment.networks import build_network
from testbed.planning.checked import check_experiment
from tests.testbed.evidence.third_party import published_data_may_be_absent
from topologies.errors import BadTopologyError
from topologies.links.profiles import DirectionProfile
from topologies.networks.spec import NetworkSpec

GOOD = {
    "name": "t",
    "network": {"shape": "chain", "hosts": ["h1", "h2"], "links": "lte"},
    "pipeline": {
        "model": "digits-resnet20",
        "hosts": ["h1", "h2"],
        "split": {"after": ["block1_2"]},
        "targets": {"max_accuracy_loss_points": 1, "bandwidth_reduction": 2},
    },
}


def changed(path: str, value: object) -> dict:
    """GOOD with one field replaced (or, with None, removed)."""
    raw = yaml.safe_load(yaml.safe_dump(GOOD))
    *parents, last = path.split(".")
    place = raw
    for part in parents:
        place = place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return raw


def complaint(raw: dict) -> str:
    """What a user reads about a wrong experiment, whichever check finds it."""
    with pytest.raises(BadExperimentError) as error:
        check_experiment(validate_experiment(raw, "x.yaml"), "x.yaml")
    assert error.value.exit_status == 2
    assert all(line.startswith("x.yaml: ") for line in str(error.value).splitlines())
    return str(error.value)


@pytest.mark.parametrize("name", shipped_experiments())
def test_every_shipped_experiment_is_valid(name: str) -> None:
    with published_data_may_be_absent():
        check_experiment(load_experiment(find_experiment(Path(name))), name)


def test_the_good_file_is_good() -> None:
    check_experiment(validate_experiment(GOOD, "x.yaml"), "x.yaml")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("pipeline.colour", "red", ["pipeline.colour", "unknown field"]),
        ("network.links", {"rate": 5, "delay_ms": 1}, ["network.links.rate", "rate_mbit", "unit"]),
        ("network.links", "lte-7", ["network.links: ", "'lte-7'", "lte"]),
        ("network.links", {"rate_mbit": -1, "delay_ms": 1}, ["network.links.rate_mbit", "-1"]),
        ("network.links", {"rate_mbit": 5}, ["network.links", "delay_ms"]),
        ("network.links", ["lte", "lte"], ["network", "1 links", "2 given"]),
        ("network.hosts", "h1", ["network.hosts: a list in brackets expected, as [", "got 'h1'"]),
        ("pipeline", 5, ["pipeline: fields in braces expected, as {name: value}, got 5"]),
        ("network.shape", "ring", ["network", "ring"]),
        ("network.hosts", ["h1", "h1"], ["network", "h1"]),
        ("network.hosts", ["h1", "a-name-far-too-long"], ["network", "a-name-far-too-long"]),
        ("pipeline.split", {"after": ["block9_9"]}, ["pipeline.split", "block9_9"]),
        ("pipeline.split", {"stages": 3}, ["pipeline.split", "3 stages for 2 hosts"]),
        ("pipeline.split", {}, ["pipeline.split", "stages", "after"]),
        ("pipeline.hosts", ["h1", "h9"], ["pipeline.hosts.1", "h9", "h1, h2"]),
        ("pipeline.model", "no-such-model", ["pipeline.model", "no-such-model", "digits-resnet20"]),
        ("pipeline.dataset", "imagenet", ["pipeline.dataset", "imagenet", "digits"]),
        ("pipeline.dataset", "cifar10", ["pipeline.dataset: "]),
        ("pipeline.window", 10**6, ["pipeline.window", "1024"]),
        ("network.bandwidth", 5, ["network.bandwidth: unknown field"]),
        (  # a field of another place is no suggestion for itself
            "network.changes",
            [{"at_s": 1, "link": "a-b", "trace": {"rate_mbit": 1}}],
            ["network.changes.0.trace: unknown field"],
        ),
        ("pipeline.batch", "many", ["pipeline.batch", "integer"]),
        ("pipeline.targets", {"min_accuracy": 0.9}, ["pipeline: targets", "bandwidth_reduction"]),
        (
            "pipeline.control",
            {"bound_ms": 100, "duration_s": 5, "modes": ["oracle", "oracle"]},
            ["pipeline.control", "modes", "'oracle' is given twice"],
        ),
        (
            "pipeline.targets",
            {"max_accuracy_loss_points": 1, "bandwidth_reduction": 1000},
            ["x.yaml: pipeline.targets.bandwidth_reduction: asks for at most"],
        ),
        ("pipeline.targets.fringe_layers", 50, ["x.yaml: pipeline.targets.fringe_layers: 50 on"]),
        (
            "pipeline.targets.mechanisms",
            ["channels"],
            ["x.yaml: pipeline.targets.mechanisms: channels has nothing to prune"],
        ),
        ("pipeline", None, ["pipeline", "accordion"]),
        ("name", None, ["name", "missing"]),
    ],
)
def test_a_mistake_is_one_clear_line(path: str, value: object, expected: list[str]) -> None:
    text = complaint(changed(path, value))
    assert len(text.splitlines()) == 1
    for part in expected:
        assert part in text


def test_every_mistake_is_told_at_once() -> None:
    raw = changed("pipeline.batch", 0)
    raw["network"]["links"] = {"rate_mbit": -1, "delay_ms": 2}
    assert len(complaint(raw).splitlines()) == 2


def test_set_replaces_any_field(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(yaml.safe_dump(GOOD))
    sets = ["pipeline.batch=3", "network.links={profile: lte, rate_mbit: 7}", "pipeline.hosts.1=h2"]
    experiment = load_experiment(file, sets)
    assert experiment.pipeline is not None and experiment.pipeline.batch == 3
    (link,) = build_network(experiment.network).links
    assert link.profile.up.rate_mbit == 7
    assert link.profile.up.delay_ms == 35
    with pytest.raises(BadExperimentError, match="key=value"):
        load_experiment(file, ["pipeline.batch"])
    for nonsense in ("pipeline.hosts.7=h2", "pipeline.hosts.x=h2", "name.first=x"):
        with pytest.raises(BadExperimentError, match="no such field"):
            load_experiment(file, [nonsense])
    with pytest.raises(BadExperimentError, match="--set name="):
        load_experiment(file, ["name=[1"])


def test_set_opens_a_link_that_is_a_bare_profile_name(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(yaml.safe_dump(GOOD))
    (link,) = build_network(load_experiment(file, ["network.links.rate_mbit=7"]).network).links
    assert link.profile is not None
    assert (link.profile.up.rate_mbit, link.profile.up.delay_ms) == (7, 35)


def test_a_key_given_twice_is_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text("name: a\nname: b\n")
    with pytest.raises(BadExperimentError, match="line 2: 'name' is given twice"):
        load_experiment(file)


def test_a_file_that_is_no_yaml_says_where(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text("name: x\n  bad: [")
    with pytest.raises(BadExperimentError, match=r"e\.yaml: cannot be read: line 2"):
        load_experiment(file)
    with pytest.raises(BadExperimentError, match=r"no such file.*demo"):
        find_experiment(tmp_path / "missing.yaml")


def test_overrides_apply_to_one_direction(tmp_path: Path) -> None:
    raw = changed("network.links", {"profile": "lte", "loss_percent": 1, "up": {"rate_mbit": 2}})
    (link,) = build_network(validate_experiment(raw, "x.yaml").network).links
    assert (link.profile.up.rate_mbit, link.profile.down.rate_mbit) == (2, 12)
    assert link.profile.up.loss_percent == link.profile.down.loss_percent == 1
    assert "changed in the experiment file" in link.profile.source


@pytest.mark.parametrize(
    ("links", "name"),
    [
        ({"profile": "lte", "up": {"rate_mbit": 2}}, "lte, up changed"),
        ({"profile": "lte", "down": {"rate_mbit": 2}}, "lte, down changed"),
        ({"profile": "lte", "loss_percent": 1, "up": {"rate_mbit": 2}}, "lte, changed"),
        ({"profile": "lte", "up": {"trace": {"generate": "lte"}}}, "lte, up varying"),
        ({"profile": "lte", "trace": {"generate": "lte"}}, "lte, varying"),
        ({"rate_mbit": 2, "delay_ms": 1, "down": {"trace": {"generate": "lte"}}},
         "custom, down varying"),
    ],
)  # fmt: skip
def test_the_name_of_a_link_says_which_direction_is_not_the_profiles(
    links: dict, name: str
) -> None:
    (link,) = build_network(validate_experiment(changed("network.links", links), "x").network).links
    assert link.profile and link.profile.name == name


def varied(tmp_path: Path, *assignments: str) -> NetworkSpec:
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump(GOOD, sort_keys=False))
    return build_network(load_experiment(file, list(assignments)).network)


def test_a_link_plays_a_file_beside_the_experiment_or_a_generated_trace(tmp_path: Path) -> None:
    (tmp_path / "fade.csv").write_text("time_s,rate_mbit\n0,5\n1,2\n")
    (link,) = varied(tmp_path, "network.links.up.trace=fade.csv").links
    assert link.profile and link.profile.up.trace and link.profile.down.trace is None
    assert [step.rate_mbit for step in link.profile.up.trace.steps] == [5, 2]
    (link,) = varied(tmp_path, "network.links.trace={generate: lte, seed: 3, duration_s: 5}").links
    assert link.profile and link.profile.up.trace and link.profile.down.trace
    assert link.profile.up.trace.period_ms == 5000


def test_a_scripted_change_is_of_both_directions_or_of_one(tmp_path: Path) -> None:
    change = "{at_s: 2, link: h1-h2, rate_mbit: 3, up: {delay_ms: 9}, down: {rate_mbit: 4}}"
    (link,) = varied(tmp_path, f"network.changes=[{change}]").links
    assert link.profile and link.profile.up.trace and link.profile.down.trace
    (_, up), (_, down) = link.profile.up.trace.steps, link.profile.down.trace.steps
    assert (up.at_ms, up.rate_mbit, up.delay_ms) == (2000, 3, 9)
    assert (down.at_ms, down.rate_mbit, down.delay_ms) == (2000, 4, None)


TREE = {"shape": "tree", "nodes": {"h1": {"h2": ["h3", "h4"]}}, "links": ["fibre", "lte"]}
CUSTOM = {
    "shape": "custom",
    "hosts": ["h1", "h2"],
    "switches": ["s1"],
    "links": [
        {"between": ["h1", "s1"], "profile": "lte"},
        {"between": ["h2", "s1"], "cable": True},
    ],
}


def links_of(network: dict) -> list[tuple[str, str | None]]:
    section = validate_experiment(changed("network", network), "x.yaml").network
    again = validate_experiment(changed("network", section.model_dump(mode="json")), "x.yaml")
    assert build_network(again.network) == build_network(section)
    spec = build_network(section)
    return [(link.name, link.profile.name if link.profile else None) for link in spec.links]


def test_a_tree_is_spelled_out_or_full() -> None:
    assert links_of(TREE) == [("h2-h1", "fibre"), ("h3-h2", "lte"), ("h4-h2", "lte")]
    full = {"shape": "tree", "fan_out": 2, "depth": 1, "links": "lte"}
    assert links_of(full) == [("n1-root", "lte"), ("n2-root", "lte")]
    nested = {"h1": ["h2", {"h3": "h4"}, {"h5": None}]}
    assert [name for name, _ in links_of(TREE | {"nodes": nested})] == [
        *("h2-h1", "h3-h1", "h5-h1", "h4-h3")
    ]


def test_a_custom_network_is_what_its_file_lists() -> None:
    assert links_of(CUSTOM) == [("h1-s1", "lte"), ("h2-s1", None)]


def link(a: str, b: str, **values: object) -> dict:
    return {"between": [a, b], **(values or {"profile": "lte"})}


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (TREE | {"links": ["lte"]}, "network: links: the tree has 2 levels of links, 1 given"),
        (TREE | {"fan_out": 2}, "network: give nodes, or fan_out and depth"),
        (TREE | {"nodes": {"h1": None, "h2": None}}, "network: nodes: a tree has one root, 2 "),
        (TREE | {"nodes": {"h1": [5]}}, "network: nodes.h1.0: expected names, lists and mappings"),
        (TREE | {"nodes": {"h1": {"h2": ["h1"]}}}, "network.nodes: 'h1' is there twice"),
        (
            TREE | {"nodes": {"h1": ["a node", "h2"]}, "links": "lte"},
            "network.nodes: 'a node' is not a node name",
        ),
        (
            {"shape": "edge-cloud", "ues": ["a ue"], "access": "lte", "backhaul": "lte"},
            "network.ues: 'a ue' is not a node name",
        ),
        (TREE | {"nodes": None, "fan_out": 40, "depth": 40}, "network: fan_out: a tree of more"),
        (TREE | {"inner": "routers"}, "network.inner: input should be 'hosts' or 'switches'"),
        (
            CUSTOM | {"links": [link("h1", "h2"), link("h2", "h9")]},
            "network.links.1: node 'h9' is not known",
        ),
        (
            CUSTOM | {"switches": ["s1", "s2", "s3"], "links": [
                *CUSTOM["links"], link("s1", "s2"), link("s2", "s3"), link("s3", "s1")]},
            "network.links: s1-s2, s2-s3, s3-s1 form a loop of switches, which nothing breaks",
        ),
        (CUSTOM | {"hosts": ["h1", "h2", "h3"]}, "network.links: h3 cannot be reached from 'h1'"),
        (
            CUSTOM | {"links": [link("h1", "h2", rate_mbit=0, delay_ms=1)]},
            "network.links.0.rate_mbit: input should be greater than or equal to 0.001, got 0",
        ),
        (
            CUSTOM | {"links": [link("h1", "h2", rate_mbit=1e-9, delay_ms=1)]},
            "network.links.0.rate_mbit: input should be greater than or equal to 0.001",
        ),
        (CUSTOM | {"links": [link("h1", "h2", rate_mbit=1)]}, "network.links.0: needs a profile"),
        (
            CUSTOM | {"links": [link("h1", "h2", cable=True, profile="lte")]},
            "network.links.0: a cable has no shape",
        ),
        (CUSTOM | {"links": [{"profile": "lte"}]}, "network.links.0.between: missing"),
        (
            CUSTOM | {"hosts": ["h1", "h2", "h-with-16-letters"]},
            "network.hosts: 'h-with-16-letters' is too long",
        ),
        (CUSTOM | {"cpu_share": {"h9": 0.5}}, "network.cpu_share: 'h9' is no host"),
        (CUSTOM | {"cpu_share": {"h1": 0}}, "network.cpu_share.h1: input should be greater than"),
    ],
)  # fmt: skip
def test_a_network_that_cannot_be_is_refused_in_one_line(network: dict, expected: str) -> None:
    text = complaint(changed("network", network))
    assert len(text.splitlines()) == 1
    assert text.startswith(f"x.yaml: {expected}")


@pytest.mark.parametrize("name", ["back.csv", "back.mahimahi"])
def test_a_trace_that_goes_backwards_is_refused_with_field_file_and_line(
    name: str, tmp_path: Path
) -> None:
    text = "time_s,rate_mbit\n0,5\n2,4\n1,3\n" if name.endswith("csv") else "1\n5\n4\n"
    (tmp_path / name).write_text(text)
    raw = changed("network.links", {"profile": "lte", "up": {"trace": str(tmp_path / name)}})
    told = complaint(raw)
    assert "network.links.up.trace: trace " in told and name in told and ": line " in told
    assert "time goes backwards" in told or "time does not go forward" in told


@pytest.mark.parametrize(
    ("assignment", "reason"),
    [
        ("network.links.up.trace=none.csv", r"links\.up\.trace: trace .*none.csv: cannot be read"),
        ("network.links.trace=none.csv", r"links\.trace: trace .*none.csv: cannot be read"),
        ("network.links.up.trace={generate: wifi}", "trace.generate: input should be 'lte'"),
        ("network.links.up.trace={generate: lte, sede: 1}", "trace.sede: unknown field; did you"),
        (
            "network.changes=[{at_s: 1, link: a-z, rate_mbit: 1}]",
            r"changes\.0\.link: link 'a-z' is not known",
        ),
        (
            "network.changes=[{at_s: 1, link: h1-h2, up: {rate_mbit: .inf}}]",
            "changes.0.up.rate_mbit: .* finite number",
        ),
        (
            "network.changes=[{at_s: 1, link: h1-h2, direction: down, rate_mbit: 1}]",
            "changes.0.direction: unknown field$",
        ),
        ("network.changes=[{at_s: 1, link: h1-h2}]", "changes.0: nothing to change"),
        (
            "network.changes=[{at_s: 1, link: h1-h2, down: {rate_mbit: 0}}]",
            "changes.0.down.rate_mbit: .* to 0.1",
        ),
        (
            "network.changes=[{at_s: 1, link: h1-h2, rate_mbit: 0}]",
            "changes.0.rate_mbit: .* to 0.1",
        ),
    ],
)
def test_what_cannot_vary_so_is_refused_with_its_field(
    assignment: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises((BadExperimentError, BadTopologyError), match=reason):
        varied(tmp_path, assignment)


def test_the_file_and_the_profiles_say_the_same_of_jitter() -> None:
    """netem, given no table of a distribution, spreads delays uniformly to either side."""
    described = LinkOverrides.model_fields["jitter_ms"].description
    assert described == DirectionProfile.model_fields["jitter_ms"].description
    assert described and described.startswith("delays are uniform from delay_ms - jitter_ms to")
    assert LinkOverrides.model_json_schema()["properties"]["jitter_ms"]["description"] == described
