"""A network that could not work is refused before anything is built, with field and reason."""

import pytest

from topologies.errors import BadTopologyError
from topologies.links.profiles import load_profile
from topologies.networks.shapes import Branch, chain, edge_cloud, full_tree, star, tree
from topologies.networks.spec import LinkSpec, NetworkSpec

LTE, FIBRE = load_profile("lte"), load_profile("fibre")


def network(hosts: str, links: str, switches: str = "") -> NetworkSpec:
    """``"a b c"``, ``"a-b b-c"``: every link with the profile lte."""
    pairs = (link.split("-") for link in links.split())
    return NetworkSpec(
        hosts=tuple(hosts.split()),
        switches=tuple(switches.split()),
        links=tuple(LinkSpec(a=a, b=b, profile=LTE) for a, b in pairs),
    )


@pytest.mark.parametrize(
    ("hosts", "links", "switches", "message"),
    [
        ("a", "", "", "hosts: a network needs two at least, got 1"),
        ("a b", "a-c", "", "links.0: node 'c' is not known"),
        ("a b", "a-b b-a", "", "links.1: 'b' and 'a' are linked twice"),
        ("a b", "a-b a-a", "", "links.1: 'a' is linked to itself"),
        ("a a", "a-a", "", "hosts: 'a' is there twice"),
        ("a b", "a-b", "a", "'a' is there twice"),
        ("a ctl", "a-ctl", "", "hosts: 'ctl' is a name of the testbed's own"),
        ("a b$", "a-b$", "", "hosts: 'b\\$' is not a node name"),
        ("a a-long-name-here", "", "", "hosts: 'a-long-name-here' is too long"),
        ("a b c d", "a-b c-d", "", "links: c, d cannot be reached from 'a'"),
        ("a b", "a-b", "s1", "links: s1 cannot be reached from 'a'"),
        ("a s1", "a-s1", "lo", "switches: 'lo' is a name of the testbed's own"),
        ("a b", "a-s b-s", "s0123456789abcde", "links.0: node 's' is not known"),
        (
            "a b",
            "a-s1 b-s3 s1-s2 s2-s3 s3-s1 s3-s4",
            "s1 s2 s3 s4",
            "links: s1-s2, s2-s3, s3-s1 form a loop of switches, which nothing breaks",
        ),
        ("a b", "a-s1 a-s2 s1-s2 b-s2", "s1 s2", "'a' has two links into one broadcast domain"),
    ],
)
def test_what_could_not_work_is_refused(
    hosts: str, links: str, switches: str, message: str
) -> None:
    with pytest.raises(BadTopologyError, match=message) as refusal:
        network(hosts, links, switches)
    assert "\n" not in str(refusal.value)


def test_the_name_of_a_switch_is_as_short_as_its_interfaces_need() -> None:
    links = tuple(LinkSpec(a=host, b="a-switch-named", profile=LTE) for host in "ab")
    with pytest.raises(BadTopologyError, match=r"switches: 'a-switch-named' is too long.*15 char"):
        NetworkSpec(hosts=("a", "b"), switches=("a-switch-named",), links=links)


def test_two_links_cannot_have_the_same_name() -> None:
    pairs = [("a", "b-c"), ("b-c", "a-b"), ("a-b", "c")]
    links = tuple(LinkSpec(a=a, b=b, profile=LTE) for a, b in pairs)
    with pytest.raises(BadTopologyError, match=r"links\.2: would be called 'a-b-c' as links\.0 is"):
        NetworkSpec(hosts=("a", "a-b", "b-c", "c"), links=links)


def test_hosts_may_form_a_ring_because_they_route() -> None:
    ring = network("a b c", "a-b b-c c-a")
    assert len(ring.domains) == 3


def test_interfaces_are_numbered_per_node_in_the_order_of_the_links() -> None:
    ends = network("a b c", "a-b b-c").ends
    assert (ends["a-b"].a.interface, ends["a-b"].b.interface) == ("a-eth0", "b-eth0")
    assert (ends["b-c"].a.interface, ends["b-c"].b.interface) == ("b-eth1", "c-eth0")


def test_switches_join_their_links_into_one_broadcast_domain() -> None:
    tree = network("a b c d", "a-s1 b-s1 s1-s2 c-s2 c-d", "s1 s2")
    assert tree.domains == (("a-s1", "b-s1", "s1-s2", "c-s2"), ("c-d",))


def test_an_unknown_link_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadTopologyError, match="link 'b-a' is not known; known are a-b"):
        network("a b", "a-b").link("b-a")


def test_a_chain_joins_neighbours_and_takes_a_profile_per_link() -> None:
    spec = chain(["ue", "edge", "cloud"], [LTE, FIBRE])
    assert [(link.name, link.profile) for link in spec.links] == [
        ("ue-edge", LTE),
        ("edge-cloud", FIBRE),
    ]
    assert not spec.switches
    with pytest.raises(BadTopologyError, match=r"chain: 2 links need as many profiles.*got 3"):
        chain(["ue", "edge", "cloud"], [LTE, FIBRE, LTE])


def test_in_a_star_every_host_is_the_user_of_its_own_link() -> None:
    spec = star(["a", "b", "c"], LTE)
    assert [(link.a, link.b) for link in spec.links] == [("a", "s1"), ("b", "s1"), ("c", "s1")]


def test_the_ues_of_an_edge_cloud_share_one_access_link() -> None:
    spec = edge_cloud(["ue1", "ue2"], access=LTE, backhaul=FIBRE)
    assert [link.name for link, _ in spec.shaped_links] == ["ran-edge", "edge-cloud"]
    assert [link.name for link in spec.links if link.profile is None] == ["ue1-ran", "ue2-ran"]


def test_a_single_ue_has_the_access_link_for_itself() -> None:
    spec = edge_cloud(["ue1"], access=LTE, backhaul=FIBRE)
    assert [link.name for link, _ in spec.shaped_links] == ["ue1-edge", "edge-cloud"]
    assert not spec.switches


def test_a_full_tree_has_a_profile_per_level_and_its_lower_nodes_are_the_users() -> None:
    spec = tree(full_tree(2, 2), [FIBRE, LTE])
    assert spec.hosts == ("root", "n1", "n2", "n1-1", "n1-2", "n2-1", "n2-2")
    assert not spec.switches
    assert [(link.a, link.b, link.profile) for link in spec.links] == [
        ("n1", "root", FIBRE),
        ("n2", "root", FIBRE),
        ("n1-1", "n1", LTE),
        ("n1-2", "n1", LTE),
        ("n2-1", "n2", LTE),
        ("n2-2", "n2", LTE),
    ]
    with pytest.raises(BadTopologyError, match=r"tree: 2 levels need as many profiles.*got 1"):
        tree(full_tree(2, 2), [FIBRE])


def test_the_inner_nodes_of_a_tree_may_be_switches() -> None:
    lopsided = Branch("core", (Branch("cloud"), Branch("cell", (Branch("ue1"), Branch("ue2")))))
    spec = tree(lopsided, LTE, inner="switches")
    assert (spec.hosts, spec.switches) == (("cloud", "ue1", "ue2"), ("core", "cell"))
    assert len(spec.domains) == 1


@pytest.mark.parametrize(("fan_out", "depth"), [(1, 3), (3, 1), (2, 4), (5, 2)])
def test_a_full_tree_has_as_many_nodes_as_a_geometric_series(fan_out: int, depth: int) -> None:
    root = full_tree(fan_out, depth)
    assert root.depth == depth
    assert len(list(root.nodes())) == sum(fan_out**level for level in range(depth + 1))
