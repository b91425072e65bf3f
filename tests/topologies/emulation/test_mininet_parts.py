"""What is declared to Mininet: its Topo classes and links, without executing anything."""

from types import SimpleNamespace
from typing import Any

import pytest

from topologies.emulation.mininet_link import ShapedWire
from topologies.emulation.sysctls import host_sysctls
from topologies.emulation.topo import ChainTopo, EdgeCloudTopo, SpecTopo, StarTopo, TreeTopo
from topologies.links.profiles import LinkProfile, load_profile, parse_profile
from topologies.networks.addressing import plan_of
from topologies.networks.receive_buffer import receive_buffer_bytes
from topologies.networks.shapes import chain, star

LTE = load_profile("lte")


def node(name: str, pid: int) -> Any:
    """As much of a Mininet node as a link needs."""
    return SimpleNamespace(name=name, pid=pid, addIntf=lambda *_, **__: None)


def wire(number: int, profile: object = LTE) -> ShapedWire:
    spec = chain(["a", "b"], LTE).links[0].model_copy(update={"profile": profile})
    return ShapedWire(
        node("a", 11),
        node("b", 22),
        spec=spec,
        number=number,
        port1=0,
        port2=0,
        intfName1="a-eth0",
        intfName2="b-eth0",
        addr1="02:00:0a:00:00:01",
        addr2="02:00:0a:00:00:02",
    )


def test_a_topo_has_the_specs_hosts_switches_and_links() -> None:
    topo = SpecTopo(star(["a", "b", "c"], LTE, switch="hub"))
    assert topo.hosts() == ["a", "b", "c"]
    assert topo.switches() == ["hub"]
    assert sorted(topo.links()) == [("a", "hub"), ("b", "hub"), ("c", "hub")]
    assert topo.nodeInfo("b")["ip"] == "10.0.0.2/24"
    assert topo.linkInfo("b", "hub")["intfName1"] == "b-eth0"


@pytest.mark.parametrize(
    ("topo", "hosts", "switches"),
    [
        (ChainTopo(hosts=3), ["h1", "h2", "h3"], []),
        (StarTopo(hosts=2, profile="dsl"), ["h1", "h2"], ["s1"]),
        (EdgeCloudTopo(ues=2), ["cloud", "edge", "ue1", "ue2"], ["ran"]),
        (TreeTopo(depth=1, fanout=2), ["n1", "n2", "root"], []),
    ],
)
def test_the_shapes_are_there_by_name(topo: Any, hosts: list[str], switches: list[str]) -> None:
    assert (topo.hosts(), topo.switches()) == (hosts, switches)


def test_a_link_is_two_pairs_that_meet_in_the_wires_namespace() -> None:
    one, two = wire(3).create_lines(wires_pid=99)
    assert "name w3a netns 99 index 10006" in one
    assert "peer name a-eth0 netns 11 address 02:00:0a:00:00:01" in one
    assert "name w3b netns 99 index 10007" in two
    assert "peer name b-eth0 netns 22 address 02:00:0a:00:00:02" in two


def test_each_direction_enters_at_one_end_and_leaves_at_the_other() -> None:
    there, back = wire(3).tap("a_to_b"), wire(3).tap("b_to_a")
    assert (there.ingress, there.egress) == ("w3a", "w3b")
    assert (back.ingress, back.egress) == ("w3b", "w3a")
    meters = [wire(n).tap(d).meter for n in range(4) for d in ("a_to_b", "b_to_a")]
    assert sorted(set(meters)) == meters
    assert min(meters) > 0


def test_a_plain_cable_is_one_pair_and_has_no_shape() -> None:
    cable = wire(3, profile=None)
    (line,) = cable.create_lines(wires_pid=99)
    assert "netns 11" in line
    assert "netns 22" in line
    assert "netns 99" not in line
    assert cable.shape_lines("netem") == []


def test_buffers_of_tcp_cover_the_whole_path_and_never_shrink() -> None:
    def receive_buffer(*hosts: str, profile: LinkProfile) -> tuple[int, int]:
        settings = host_sysctls(plan_of(chain(hosts, profile)))
        _, begin, most = map(int, settings["ipv4/tcp_rmem"].split())
        return begin, most

    product = 12e6 / 8 * 0.07
    begin, most = receive_buffer("a", "b", profile=LTE)
    # from the first byte on: in flight and in the queue
    assert begin >= receive_buffer_bytes(round(2 * (product + product)))
    assert most == 6 << 20
    crawl = {"rate_mbit": 0.1, "delay_ms": 1}
    slow = parse_profile("slow", {"down": crawl, "up": crawl, "source": "s", "latency": "l"})
    begin, most = receive_buffer("a", "b", profile=slow)
    assert (begin, most) == (pytest.approx(128 << 10, rel=0.5), 6 << 20) and begin >= 128 << 10
    way = {"rate_mbit": 1000, "delay_ms": 50}
    fast = parse_profile("fast", {"down": way, "up": way, "source": "s", "latency": "l"})
    one, two = (receive_buffer(*hosts, profile=fast) for hosts in ("ab", "abc"))
    product = 1000e6 / 8 * 0.1
    assert one[0] == one[1] >= receive_buffer_bytes(round(2 * (product + product)))
    assert two > one


def test_hosts_keep_no_memory_of_past_connections_and_speak_no_ipv6() -> None:
    settings = host_sysctls(plan_of(chain(["a", "b"], LTE)))
    assert settings["ipv4/tcp_no_metrics_save"] == "1"
    assert settings["ipv6/conf/all/disable_ipv6"] == "1"
    assert settings["ipv4/ip_forward"] == "1"
