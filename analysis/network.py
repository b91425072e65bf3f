"""The emulated network as the run describes it: who is joined to whom, and which way is which.

Only names and addresses are used here; the configured rates and delays are carried along for
the report's manifest, and no figure is computed from them.
"""

from collections import deque
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from analysis.summary import Direction


class Described(BaseModel):
    """A part of ``network.json`` or ``fidelity.json``; what newer versions add is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Host(Described):
    """A host: its address on the management network, and the interfaces of the emulated one."""

    mgmt_ip: str | None = None
    interfaces: dict[str, str]


class LinkEnd(Described):
    """Where a link is fastened: a host (with an address) or a switch (without)."""

    node: str
    interface: str
    ip: str | None


class Link(Described):
    """One shaped link."""

    name: str
    a: LinkEnd
    b: LinkEnd
    profile: str | None = None
    source: str | None = None
    a_to_b: dict[str, Any] = Field(default_factory=dict)
    b_to_a: dict[str, Any] = Field(default_factory=dict)

    def ends(self, direction: Direction) -> tuple[LinkEnd, LinkEnd]:
        """The sending and the receiving end."""
        return (self.a, self.b) if direction == "a_to_b" else (self.b, self.a)


class LinkDirection(BaseModel):
    """One direction of a link: its two captures, and the addresses whose packets travel so."""

    model_config = ConfigDict(frozen=True)

    link: str
    direction: Direction
    sender: LinkEnd
    receiver: LinkEnd
    sources: frozenset[str]

    @property
    def label(self) -> str:
        """For titles and legends."""
        return f"{self.sender.node} → {self.receiver.node}"


class Network(Described):
    """``network.json``."""

    hosts: dict[str, Host]
    links: tuple[Link, ...]

    @cached_property
    def directions(self) -> tuple[LinkDirection, ...]:
        """Both directions of every link."""
        return tuple(
            self._direction(link, direction)
            for link in self.links
            for direction in ("a_to_b", "b_to_a")
        )

    def owner(self, ip: str) -> tuple[str, str]:
        """Host and interface of an address; ``KeyError`` if no host has it."""
        for name, host in self.hosts.items():
            for interface, address in host.interfaces.items():
                if address == ip:
                    return name, interface
        raise KeyError(ip)

    def path(self, source: str, target: str) -> tuple[LinkDirection, ...]:
        """The links from one node to another, fewest first; empty where there is no way."""
        reached: dict[str, tuple[LinkDirection, ...]] = {source: ()}
        queue = deque([source])
        while queue:
            node = queue.popleft()
            for step in self.directions:
                if step.sender.node == node and step.receiver.node not in reached:
                    reached[step.receiver.node] = (*reached[node], step)
                    queue.append(step.receiver.node)
        return reached.get(target, ())

    def _direction(self, link: Link, direction: Direction) -> LinkDirection:
        sender, receiver = link.ends(direction)
        return LinkDirection(
            link=link.name,
            direction=direction,
            sender=sender,
            receiver=receiver,
            sources=self._addresses_behind(sender.node, link),
        )

    def _addresses_behind(self, node: str, without: Link) -> frozenset[str]:
        """Addresses of the interfaces that a node reaches without using a link, its own included.

        In a tree, as all shipped shapes are, these are the sources of what the node sends into
        the link.
        """
        nodes, queue = {node}, deque([node])
        addresses = {end.ip for end in (without.a, without.b) if end.node == node}
        while queue:
            here = queue.popleft()
            for link in self.links:
                ends = {link.a.node, link.b.node}
                if link is without or here not in ends:
                    continue
                addresses |= {link.a.ip, link.b.ip}
                fresh = ends - nodes
                nodes |= fresh
                queue.extend(fresh)
        return frozenset(ip for ip in addresses if ip is not None)
