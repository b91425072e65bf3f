"""The shapes of networks that experiments name: ``chain``, ``star``, ``edge-cloud``, ``tree``.

A ``custom`` network has no shape: its experiment lists the parts of a
:class:`~topologies.networks.spec.NetworkSpec`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from topologies.errors import BadTopologyError
from topologies.links.profiles import LinkProfile
from topologies.networks.spec import LinkSpec, NetworkSpec, Shaper


def chain(
    hosts: Sequence[str], profiles: LinkProfile | Sequence[LinkProfile], shaper: Shaper = "netem"
) -> NetworkSpec:
    """Devices in a row, joined directly; ``profiles`` is one for all links or one per link.

    The earlier host of each link is the user's side of its profile.
    """
    pairs = list(pairwise(hosts))
    links = tuple(
        LinkSpec(a=a, b=b, profile=profile)
        for (a, b), profile in zip(pairs, _each(profiles, len(pairs), "chain"), strict=True)
    )
    return NetworkSpec(hosts=tuple(hosts), links=links, shaper=shaper)


def star(
    hosts: Sequence[str],
    profiles: LinkProfile | Sequence[LinkProfile],
    switch: str = "s1",
    shaper: Shaper = "netem",
) -> NetworkSpec:
    """Hosts around one switch; every host is the user's side of its link."""
    links = tuple(
        LinkSpec(a=host, b=switch, profile=profile)
        for host, profile in zip(hosts, _each(profiles, len(hosts), "star"), strict=True)
    )
    return NetworkSpec(hosts=tuple(hosts), switches=(switch,), links=links, shaper=shaper)


def edge_cloud(
    ues: Sequence[str], access: LinkProfile, backhaul: LinkProfile, shaper: Shaper = "netem"
) -> NetworkSpec:
    """UEs behind one access link to ``edge``, then a backhaul to ``cloud``.

    One UE has the access link for itself. Several are plugged into the switch ``ran`` by plain
    cables and share the access link ``ran-edge``.
    """
    hosts = (*ues, "edge", "cloud")
    backhaul_link = LinkSpec(a="edge", b="cloud", profile=backhaul)
    if len(ues) == 1:
        access_link = LinkSpec(a=ues[0], b="edge", profile=access)
        return NetworkSpec(hosts=hosts, links=(access_link, backhaul_link), shaper=shaper)
    cables = tuple(LinkSpec(a=ue, b="ran", profile=None) for ue in ues)
    shared = LinkSpec(a="ran", b="edge", profile=access)
    return NetworkSpec(
        hosts=hosts, switches=("ran",), links=(*cables, shared, backhaul_link), shaper=shaper
    )


@dataclass(frozen=True)
class Branch:
    """A node of a tree with what hangs below it."""

    name: str
    below: tuple["Branch", ...] = ()

    @property
    def depth(self) -> int:
        """Levels of links below this node."""
        return max((1 + each.depth for each in self.below), default=0)

    def nodes(self) -> Iterator["Branch"]:
        """This node, then the others, level by level."""
        level = [self]
        while level:
            yield from level
            level = [each for node in level for each in node.below]

    def joints(self, level: int = 0) -> Iterator[tuple["Branch", "Branch", int]]:
        """(node, the one above it, level of the link between them), from 0 at the root."""
        for each in self.below:
            yield each, self, level
            yield from each.joints(level + 1)


Inner = Literal["hosts", "switches"]


def tree(
    root: Branch,
    profiles: LinkProfile | Sequence[LinkProfile],
    inner: Inner = "hosts",
    shaper: Shaper = "netem",
) -> NetworkSpec:
    """A tree; ``profiles`` is one for all links or one per level, from the root down.

    The lower node of each link is the user's side of its profile. The nodes that have others below
    them are hosts, which route, or switches.
    """
    of_level = _each(profiles, root.depth, "tree", "levels")
    switches = {each.name for each in root.nodes() if each.below and inner == "switches"}
    joints = sorted(root.joints(), key=lambda joint: joint[2])
    return NetworkSpec(
        hosts=tuple(each.name for each in root.nodes() if each.name not in switches),
        switches=tuple(each.name for each in root.nodes() if each.name in switches),
        links=tuple(
            LinkSpec(a=lower.name, b=upper.name, profile=of_level[level])
            for lower, upper, level in joints
        ),
        shaper=shaper,
    )


def full_tree(fan_out: int, depth: int) -> Branch:
    """``root`` above ``n1``, ``n2``, ...; below ``n2`` are ``n2-1``, ``n2-2``, ...; and so on."""

    def below(prefix: str, levels: int) -> tuple[Branch, ...]:
        names = [f"{prefix}{number}" for number in range(1, fan_out + 1)]
        return tuple(Branch(name, below(f"{name}-", levels - 1)) for name in names if levels)

    return Branch("root", below("n", depth))


def _each(
    profiles: LinkProfile | Sequence[LinkProfile], count: int, shape: str, things: str = "links"
) -> Sequence[LinkProfile]:
    if isinstance(profiles, LinkProfile):
        return [profiles] * count
    if len(profiles) != count:
        raise BadTopologyError(
            f"{shape}: {count} {things} need as many profiles (or one for all), got {len(profiles)}"
        )
    return profiles
