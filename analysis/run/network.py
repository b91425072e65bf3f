"""The emulated network as the run describes it: who is joined to whom, and which way is which.

No figure is made of the configured rates and delays; they only tell whether networks differ.
"""

from collections import deque
from functools import cached_property

from pydantic import BaseModel, ConfigDict

from stage_node.records.network import LinkEnd, LinkRecord, NetworkRecord
from stage_node.records.vocabulary import DIRECTIONS, Direction


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


class Network(NetworkRecord):
    """``network.json``, and what follows from it of directions and paths."""

    @cached_property
    def directions(self) -> tuple[LinkDirection, ...]:
        """Both directions of every shaped link."""
        return tuple(
            self._direction(link, direction) for link in self.links for direction in DIRECTIONS
        )

    def owner(self, ip: str) -> str:
        """The host that has an address; ``KeyError`` if none has it."""
        for name, host in self.hosts.items():
            if ip in host.interfaces.values():
                return name
        raise KeyError(ip)

    def path(self, source: str, target: str) -> tuple[LinkDirection, ...]:
        """The shaped links from one node to another; empty where there is no way."""
        between = {(step.sender.node, step.receiver.node): step for step in self.directions}
        reached: dict[str, tuple[LinkDirection, ...]] = {source: ()}
        queue = deque([source])
        while queue:
            node = queue.popleft()
            for neighbour in self._neighbours(node):
                if neighbour not in reached:
                    step = between.get((node, neighbour))
                    reached[neighbour] = (*reached[node], step) if step else reached[node]
                    queue.append(neighbour)
        return reached.get(target, ())

    def _direction(self, link: LinkRecord, direction: Direction) -> LinkDirection:
        sender, receiver = link.ends(direction)
        return LinkDirection(
            link=link.name,
            direction=direction,
            sender=sender,
            receiver=receiver,
            sources=self._addresses_behind(sender.node, receiver.node),
        )

    def _addresses_behind(self, node: str, beyond: str) -> frozenset[str]:
        """Addresses of a node and of all that it reaches without its neighbour ``beyond``.

        In a tree, as all shipped shapes are, these are the sources of what the node sends there.
        """
        reached, queue = {node, beyond}, deque([node])
        while queue:
            fresh = self._neighbours(queue.popleft()) - reached
            reached |= fresh
            queue.extend(fresh)
        hosts = (self.hosts[name] for name in reached - {beyond} if name in self.hosts)
        return frozenset(ip for host in hosts for ip in host.interfaces.values())

    def _neighbours(self, node: str) -> set[str]:
        return {a if b == node else b for a, b in self._edges if node in (a, b)}

    @cached_property
    def _edges(self) -> frozenset[tuple[str, str]]:
        """Nodes at the ends of the link.

        A host that no link mentions is plugged into the switch, where there is but one.
        """
        edges = {(link.a.node, link.b.node) for link in (*self.links, *self.cables)}
        mentioned = {node for edge in edges for node in edge}
        switches = mentioned - self.hosts.keys()
        if len(switches) == 1:
            switch = switches.pop()
            edges |= {(host, switch) for host in self.hosts.keys() - mentioned}
        return frozenset(edges)
