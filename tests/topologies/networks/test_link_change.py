"""A change of a link that somebody asks for while the network runs."""

import pytest

from topologies.errors import BadTopologyError
from topologies.links.profiles import LinkProfile, load_profile
from topologies.networks.link_change import Command, commanded, steps_between
from topologies.networks.schedule import changes, varies
from topologies.networks.scripted import Edit, changeable, scripted
from topologies.networks.shapes import chain, edge_cloud
from topologies.networks.shaping import shape_of
from topologies.networks.spec import NetworkSpec

LTE = load_profile("lte")
SPEC = chain(["a", "b"], LTE)


def told(command: Command, spec: NetworkSpec = SPEC) -> LinkProfile:
    profile = spec.link(command.link).profile
    return commanded(spec, command, profile or LTE)


def test_what_a_command_does_not_name_stays() -> None:
    after = told(Command("a-b", up={"rate_mbit": 1.0}, down={}))
    assert after.up == LTE.up.model_copy(update={"rate_mbit": 1.0})
    assert after.down == LTE.down
    (step,) = steps_between("a-b", LTE, after)
    assert (step.direction, step.profile) == ("a_to_b", after)


def test_the_delay_of_one_direction_is_in_the_buffers_of_both() -> None:
    after = told(Command("a-b", up={}, down={"delay_ms": 500.0}))
    assert {step.direction for step in steps_between("a-b", LTE, after)} == {"a_to_b", "b_to_a"}


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (Command("a-c", {"rate_mbit": 1.0}, {}), "link 'a-c' is not known; known are a-b"),
        (Command("a-b", {"rate_mbit": 0.0}, {}), "link a-b up: rate_mbit: .*0.001"),
        (Command("a-b", {}, {"jitter_ms": 99.0}), r"link a-b down: jitter_ms \(99\) must not"),
        (Command("a-b", {}, {}), "link a-b: nothing to change"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(command: Command, reason: str) -> None:
    with pytest.raises(BadTopologyError, match=reason) as refusal:
        told(command)
    assert "\n" not in str(refusal.value)


def test_a_cable_has_no_shape_and_a_script_has_its_direction_for_itself() -> None:
    cables = edge_cloud(["u", "v"], LTE, LTE)
    with pytest.raises(BadTopologyError, match="u-ran is a plain cable"):
        told(Command("u-ran", {"rate_mbit": 1.0}, {}), cables)
    script = scripted(SPEC, [Edit(5, "a-b", "a_to_b", {"rate_mbit": 2.0})])
    with pytest.raises(BadTopologyError, match="plays a trace up"):
        told(Command("a-b", {"rate_mbit": 1.0}, {}), script)
    assert told(Command("a-b", {}, {"rate_mbit": 1.0}), script).down.rate_mbit == 1


def test_a_changeable_network_is_built_to_vary_and_does_not() -> None:
    spec = changeable(SPEC)
    profile = spec.links[0].profile
    assert profile and shape_of(profile, "a_to_b").varies and shape_of(profile, "b_to_a").varies
    assert not varies(spec)
    assert told(Command("a-b", {"rate_mbit": 1.0}, {}), spec).up.rate_mbit == 1
    script = scripted(spec, [Edit(5, "a-b", "a_to_b", {"rate_mbit": 2.0})])
    assert [change.at_ms for change in changes(script)] == [5]
