"""The specification of a network: hosts, switches and shaped links, validated.

Pure data; :mod:`topologies.networks.addressing` derives addresses and routes from it and
:mod:`topologies.emulation.network` builds it.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stage_node.records.vocabulary import Direction
from topologies.errors import BadTopologyError
from topologies.links.profiles import DirectionProfile, LinkProfile

Shaper = Literal["netem", "tclink"]

INTERFACE_NAME_MAX = 15  # IFNAMSIZ - 1
RESERVED_NAMES = frozenset({"ctl", "wires", "lo"})
_NODE_NAME = re.compile(r"[a-z][a-z0-9-]*", re.IGNORECASE)


class LinkSpec(BaseModel):
    """A link between nodes ``a`` and ``b``.

    ``a`` is the user's side of the profile: ``a_to_b`` carries its ``up`` direction, ``b_to_a``
    its ``down`` direction. Without a profile it is a plain cable: neither shaped, nor probed,
    nor captured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    a: str
    b: str
    profile: LinkProfile | None

    @property
    def name(self) -> str:
        """Unique in a network."""
        return f"{self.a}-{self.b}"


def direction_of(profile: LinkProfile, direction: Direction) -> DirectionProfile:
    """Values of a profile for one direction of a link; see :class:`LinkSpec`."""
    return profile.up if direction == "a_to_b" else profile.down


class Port(NamedTuple):
    """One end of a link: the node and its interface there."""

    node: str
    interface: str


@dataclass(frozen=True)
class Ends:
    """Both ends of a link."""

    a: Port
    b: Port

    def __iter__(self) -> Iterator[Port]:
        return iter((self.a, self.b))


class NetworkSpec(BaseModel):
    """Hosts, switches (bridges) and the links between them.

    Raises ``BadTopologyError`` naming the field and the reason where the network could not work:
    names that are unknown, duplicate or too long, two links between the same nodes, a loop of
    switches, two links of a host into one broadcast domain, a network in several pieces. Hosts may
    form a ring, because they route; switches are bridges without spanning tree, so that nothing
    would end what goes round in a loop of theirs.
    ``cpu_share`` says of hosts how much of a CPU they have, by default a whole one;
    ``shaper`` chooses netem with rate and delay, or Mininet's HTB-then-netem for comparison.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hosts: tuple[str, ...]
    switches: tuple[str, ...] = ()
    links: tuple[LinkSpec, ...]
    shaper: Shaper = "netem"
    cpu_share: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_buildable(self) -> Self:
        _check_names(self)
        _check_shares(self)
        _check_links(self)
        _check_interfaces(self)
        _check_domains(self)
        _check_traces(self)
        return self

    @cached_property
    def ends(self) -> dict[str, Ends]:
        """Link name -> its interfaces ``<node>-eth<n>``, n from 0 in the order of the links."""
        used: Counter[str] = Counter()

        def next_port(node: str) -> Port:
            used[node] += 1
            return Port(node, f"{node}-eth{used[node] - 1}")

        return {link.name: Ends(next_port(link.a), next_port(link.b)) for link in self.links}

    @cached_property
    def domains(self) -> tuple[tuple[str, ...], ...]:
        """Broadcast domains: groups of link names joined by switches, in the order of the links."""
        domain_of = {link.name: index for index, link in enumerate(self.links)}
        for switch in self.switches:
            joined = {domain_of[link.name] for link in self.links if switch in (link.a, link.b)}
            for name, domain in domain_of.items():
                if domain in joined:
                    domain_of[name] = min(joined)
        indices = sorted(set(domain_of.values()))
        return tuple(
            tuple(name for name, domain in domain_of.items() if domain == index)
            for index in indices
        )

    @property
    def shaped_links(self) -> tuple[tuple[LinkSpec, LinkProfile], ...]:
        """The links that have a profile, with it."""
        return tuple((link, link.profile) for link in self.links if link.profile is not None)

    def changed(self, **fields: object) -> "NetworkSpec":
        """Return a copy with some fields replaced, checked as a whole again."""
        own = {name: getattr(self, name) for name in NetworkSpec.model_fields}
        return NetworkSpec.model_validate(own | fields)

    def link(self, name: str) -> LinkSpec:
        """A link by name; ``BadTopologyError`` where there is none."""
        for link in self.links:
            if link.name == name:
                return link
        known = ", ".join(link.name for link in self.links)
        raise BadTopologyError(f"link {name!r} is not known; known are {known}")


def _check_names(spec: NetworkSpec) -> None:
    if len(spec.hosts) < 2:
        raise BadTopologyError(f"hosts: a network needs two at least, got {len(spec.hosts)}")
    nodes = spec.hosts + spec.switches
    for field, names in (("hosts", spec.hosts), ("switches", spec.switches)):
        for name in names:
            if not _NODE_NAME.fullmatch(name):
                raise BadTopologyError(
                    f"{field}: {name!r} is not a node name (a letter, then letters, digits, '-')"
                )
            if name in RESERVED_NAMES:
                raise BadTopologyError(f"{field}: {name!r} is a name of the testbed's own")
            if nodes.count(name) > 1:
                raise BadTopologyError(f"{field}: {name!r} is there twice")


def _check_shares(spec: NetworkSpec) -> None:
    for host, share in spec.cpu_share.items():
        if host not in spec.hosts:
            raise BadTopologyError(
                f"cpu_share: {host!r} is no host of this network (there are: "
                f"{', '.join(spec.hosts)})"
            )
        if not 0 < share <= 1:
            raise BadTopologyError(f"cpu_share: {host!r} cannot have {share:g} of a CPU")


def _check_links(spec: NetworkSpec) -> None:
    nodes = {*spec.hosts, *spec.switches}
    joined: set[frozenset[str]] = set()
    named: dict[str, int] = {}
    for index, link in enumerate(spec.links):
        for end in (link.a, link.b):
            if end not in nodes:
                raise BadTopologyError(f"links.{index}: node {end!r} is not known")
        if link.a == link.b:
            raise BadTopologyError(f"links.{index}: {link.a!r} is linked to itself")
        pair = frozenset((link.a, link.b))
        if pair in joined:
            raise BadTopologyError(f"links.{index}: {link.a!r} and {link.b!r} are linked twice")
        joined.add(pair)
        if link.name in named:  # host a-b to c, host a to b-c
            raise BadTopologyError(
                f"links.{index}: would be called {link.name!r} as links.{named[link.name]} is; "
                "rename a node"
            )
        named[link.name] = index


def _check_interfaces(spec: NetworkSpec) -> None:
    ports = [port for ends in spec.ends.values() for port in ends]
    for node, interface in ports + [Port(host, f"{host}-mgmt") for host in spec.hosts]:
        if len(interface) > INTERFACE_NAME_MAX:
            raise BadTopologyError(
                f"{'hosts' if node in spec.hosts else 'switches'}: {node!r} is too long, its "
                f"interface {interface!r} would have more than {INTERFACE_NAME_MAX} characters"
            )


def _check_traces(spec: NetworkSpec) -> None:
    traced = (way for _, profile in spec.shaped_links for way in (profile.down, profile.up))
    if spec.shaper == "tclink" and any(way.trace for way in traced):
        raise BadTopologyError("shaper: tclink cannot play a trace, netem can")


def _check_domains(spec: NetworkSpec) -> None:
    hosts, switches = set(spec.hosts), set(spec.switches)
    for names in spec.domains:
        links = [spec.link(name) for name in names]
        ends = [end for link in links for end in (link.a, link.b)]
        attached = Counter(end for end in ends if end in hosts)
        twice = [host for host, count in attached.items() if count > 1]
        if twice:
            raise BadTopologyError(
                f"links: {twice[0]!r} has two links into one broadcast domain ({', '.join(names)})"
            )
        inner = switches.intersection(ends)
        between = [link for link in links if {link.a, link.b} <= switches]
        if len(between) > len(inner) - 1 and inner:
            raise BadTopologyError(
                f"links: {_loop(between)} form a loop of switches, which nothing breaks (they are "
                "bridges without spanning tree)"
            )
    unreached = set(spec.hosts) | switches
    front = [spec.hosts[0]]
    while front:
        node = front.pop()
        unreached.discard(node)
        neighbours = [
            ({link.a, link.b} - {node}).pop() for link in spec.links if node in (link.a, link.b)
        ]
        front += [each for each in neighbours if each in unreached]
    if unreached:
        raise BadTopologyError(
            f"links: {', '.join(sorted(unreached))} cannot be reached from {spec.hosts[0]!r}"
        )


def _loop(links: list[LinkSpec]) -> str:
    """The links that go round, in words: those that are left when every dead end is taken away."""
    while True:
        degree = Counter(end for link in links for end in (link.a, link.b))
        round_about = [link for link in links if min(degree[link.a], degree[link.b]) > 1]
        if len(round_about) == len(links):
            return ", ".join(link.name for link in links)
        links = round_about
