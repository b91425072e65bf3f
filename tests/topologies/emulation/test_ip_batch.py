"""The lines for ip and bridge: who gets which address, neighbour, route and port."""

import re

from topologies.emulation.ip_batch import (
    VethEnd,
    bridge_lines,
    controller_lines,
    forwarding_lines,
    host_lines,
    management_veth_lines,
    veth_line,
)
from topologies.links.profiles import load_profile
from topologies.networks.addressing import plan_of
from topologies.networks.shapes import chain, star
from topologies.networks.spec import LinkSpec, NetworkSpec

LTE = load_profile("lte")


def test_both_ends_of_a_pair_are_born_in_their_namespaces() -> None:
    line = veth_line(VethEnd("w0a", 7), 10_000, VethEnd("a-eth0", 9, "02:00:0a:00:00:01"))
    assert line == (
        "link add name w0a netns 7 index 10000 type veth "
        "peer name a-eth0 netns 9 address 02:00:0a:00:00:01"
    )


def test_the_host_in_the_middle_of_a_chain() -> None:
    lines = host_lines(plan_of(chain(["a", "b", "c", "d"], LTE)), "b")
    assert lines == [
        "link set lo up",
        "addr add 10.0.0.2/24 dev b-eth0",
        "link set b-eth0 up",
        "neigh add 10.0.0.1 lladdr 02:00:0a:00:00:01 dev b-eth0 nud permanent",
        "addr add 10.0.1.1/24 dev b-eth1",
        "link set b-eth1 up",
        "neigh add 10.0.1.2 lladdr 02:00:0a:00:01:02 dev b-eth1 nud permanent",
        "route add 10.0.2.0/24 via 10.0.1.2 dev b-eth1",
        "addr add 172.31.0.3/16 dev b-mgmt",
        "link set b-mgmt up",
    ]


def test_no_host_has_to_ask_for_a_neighbour() -> None:
    plan = plan_of(star(["a", "b", "c"], LTE))
    known = {
        host: set(re.findall(r"neigh add (\S+)", "\n".join(host_lines(plan, host))))
        for host in "abc"
    }
    assert known["a"] == {"10.0.0.2", "10.0.0.3", "10.0.0.254"}
    assert known["b"] == {"10.0.0.1", "10.0.0.3", "10.0.0.254"}


def test_a_bridge_knows_behind_which_port_everybody_is_across_other_bridges() -> None:
    spec = NetworkSpec(
        hosts=("a", "b", "c", "d"),
        switches=("s1", "s2"),
        links=tuple(
            LinkSpec(a=a, b=b, profile=LTE)
            for a, b in [("a", "s1"), ("b", "s1"), ("s1", "s2"), ("c", "s2"), ("d", "s2")]
        ),
    )
    plan = plan_of(spec)
    behind: dict[str, set[str]] = {}
    for line in forwarding_lines(plan, "s1"):
        found = re.fullmatch(r"fdb add 02:00:0a:00:00:(..) dev (\S+) master static", line)
        assert found, line
        behind.setdefault(found[2], set()).add(f"10.0.0.{int(found[1], 16)}")
    a, b, c, d = (str(plan.data_ip(host)) for host in "abcd")
    (s2,) = {str(plan.address[port]) for port in plan.ports("s2")}
    assert behind == {"s1-eth0": {a}, "s1-eth1": {b}, "s1-eth2": {c, d, s2}}


def test_a_bridge_takes_all_its_ports_and_forwards_at_once() -> None:
    lines = bridge_lines(plan_of(star(["a", "b"], LTE)), "s1")
    assert (
        "link add name s1 address 02:00:0a:00:00:fe type bridge "
        "stp_state 0 forward_delay 0 mcast_snooping 0"
    ) in lines
    assert {"link set s1-eth0 master s1", "link set s1-eth1 master s1"} <= set(lines)


def test_the_management_network_is_a_bridge_in_the_controllers_host() -> None:
    plan = plan_of(chain(["a", "b"], LTE))
    cables = management_veth_lines(plan, {"ctl": 1, "a": 2, "b": 3})
    assert cables[1].startswith("link add name p-b netns 1 index ")
    assert cables[1].endswith("peer name b-mgmt netns 3 address 02:00:ac:1f:00:03")
    lines = controller_lines(plan)
    assert {"link set p-a master mgmt", "link set p-b master mgmt"} <= set(lines)
    assert "addr add 172.31.0.1/16 dev mgmt" in lines
