"""Packets that follow the planned routes arrive, by the fewest hops."""

from collections import deque
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.errors import BadTopologyError
from topologies.links.profiles import load_profile
from topologies.networks.addressing import Plan, mac_of, management_ips, plan_of
from topologies.networks.paths import path_between
from topologies.networks.shapes import chain, edge_cloud, star
from topologies.networks.spec import LinkSpec, NetworkSpec

LTE = load_profile("lte")


@st.composite
def networks(draw: st.DrawFn) -> NetworkSpec:
    """A random tree of hosts with some switches, and some extra links between hosts."""
    hosts = [f"h{number}" for number in range(draw(st.integers(2, 8)))]
    pairs: list[tuple[str, str]] = []
    for number, host in enumerate(hosts[1:], start=1):
        pairs.append((hosts[draw(st.integers(0, number - 1))], host))
    for _ in range(draw(st.integers(0, 3))):
        a, b = draw(st.sampled_from(hosts)), draw(st.sampled_from(hosts))
        if a != b and {a, b} not in [set(pair) for pair in pairs]:
            pairs.append((a, b))
    switches = []
    for number in range(draw(st.integers(0, min(3, len(pairs))))):
        a, b = pairs[number]
        switches.append(f"s{number}")
        pairs[number] = (a, f"s{number}")
        pairs.append((f"s{number}", b))
    return NetworkSpec(
        hosts=tuple(hosts),
        switches=tuple(switches),
        links=tuple(LinkSpec(a=a, b=b, profile=LTE) for a, b in pairs),
    )


def owner(plan: Plan, address: IPv4Address) -> str:
    return next(port.node for port, its in plan.address.items() if its == address)


def hops(plan: Plan, source: str, target: IPv4Address) -> int:
    """Forward a packet by the hosts' tables as the kernel would; hosts passed on the way."""
    here, passed = source, 0
    while True:
        own = [plan.address[port] for port in plan.ports(here)]
        if target in own:
            return passed
        direct = any(target in plan.neighbours(port) for port in plan.ports(here))
        if direct:
            here = owner(plan, target)
        else:
            route = next(route for route in plan.routes[here] if target in route.subnet)
            reachable = [port for port in plan.ports(here) if route.via in plan.neighbours(port)]
            assert [port.interface for port in reachable] == [route.interface]
            here = owner(plan, route.via)
        passed += 1
        assert passed <= len(plan.spec.hosts), "a routing loop"


def fewest_hops(spec: NetworkSpec, source: str, target: str) -> int:
    """Breadth-first over the links themselves; a switch costs nothing."""
    queue, cost = deque([source]), {source: 0}
    while queue:
        here = queue.popleft()
        for link in spec.links:
            if here in (link.a, link.b):
                there = link.b if here == link.a else link.a
                step = 0 if there in spec.switches else 1
                if cost.get(there, 99) > cost[here] + step:
                    cost[there] = cost[here] + step
                    (queue.append if step else queue.appendleft)(there)
    return cost[target]


@given(networks())
def test_every_host_reaches_every_other_by_the_fewest_hops(spec: NetworkSpec) -> None:
    plan = plan_of(spec)
    for source in spec.hosts:
        for target in spec.hosts:
            if source != target:
                address = plan.data_ip(target, towards=source)
                assert hops(plan, source, address) == fewest_hops(spec, source, target)


@given(networks())
def test_the_path_that_is_reckoned_with_is_the_one_that_packets_take(spec: NetworkSpec) -> None:
    plan = plan_of(spec)
    for source in spec.hosts:
        for target in spec.hosts:
            path = path_between(spec, source, target)
            here = source
            for link, direction in path:
                sender, receiver = (link.a, link.b) if direction == "a_to_b" else (link.b, link.a)
                assert sender == here
                here = receiver
            assert here == target
            if source != target:
                reached = [link.b if way == "a_to_b" else link.a for link, way in path]
                routers = [node for node in reached if node in spec.hosts]
                assert len(routers) == hops(plan, source, plan.data_ip(target, source))


@given(networks())
def test_no_two_nodes_share_an_address_and_subnets_do_not_overlap(spec: NetworkSpec) -> None:
    plan = plan_of(spec)
    owners: dict[IPv4Address, set[str]] = {}
    for port, address in plan.address.items():
        owners.setdefault(address, set()).add(port.node)
    assert all(len(nodes) == 1 for nodes in owners.values())
    assert len(set(plan.subnets)) == len(plan.subnets) == len(spec.domains)
    assert not set(management_ips(spec).values()) & set(owners)


def test_in_a_chain_the_address_depends_on_who_asks() -> None:
    plan = plan_of(chain(["a", "b", "c", "d"], LTE))
    assert str(plan.data_ip("b", towards="a")) == "10.0.0.2"
    assert str(plan.data_ip("b", towards="c")) == "10.0.1.1"
    assert str(plan.data_ip("b", towards="d")) == "10.0.1.1"
    assert str(plan.data_ip("d", towards="a")) == "10.0.2.2"
    assert str(plan.data_ip("b")) == "10.0.0.2"


def test_a_switch_has_one_address_at_all_its_ports() -> None:
    plan = plan_of(star(["a", "b"], LTE))
    assert {str(plan.address[port]) for port in plan.ports("s1")} == {"10.0.0.254"}


def test_ues_reach_the_cloud_through_the_edge() -> None:
    plan = plan_of(edge_cloud(["ue1", "ue2"], LTE, LTE))
    (route,) = plan.routes["ue1"]
    assert (str(route.subnet), str(route.via), route.interface) == (
        "10.0.1.0/24",
        "10.0.0.3",
        "ue1-eth0",
    )


def test_a_mac_address_holds_the_ip_address_and_is_locally_administered_unicast() -> None:
    assert mac_of(IPv4Address("10.0.1.254")) == "02:00:0a:00:01:fe"


def test_the_controller_comes_first_on_the_management_network() -> None:
    ips = management_ips(chain(["a", "b"], LTE))
    assert {name: str(ip) for name, ip in ips.items()} == {
        "ctl": "172.31.0.1",
        "a": "172.31.0.2",
        "b": "172.31.0.3",
    }


def test_a_broadcast_domain_has_a_limit_and_says_so() -> None:
    with pytest.raises(BadTopologyError, match="has room for 254 nodes, h0-s1's has 255"):
        plan_of(star([f"h{number}" for number in range(254)], LTE))
