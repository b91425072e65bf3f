"""The shaped link as Mininet's ``Link`` and its interfaces as Mininet's ``TCIntf``.

Nothing is executed here. Links and interfaces are declared, and give the lines that create,
shape and change them; :class:`topologies.emulation.network.EmulatedNetwork` runs these in batches.
"""

from typing import Any

from mininet.link import Link, TCIntf

from stage_node.records.vocabulary import DIRECTIONS, Direction
from topologies.emulation.ip_batch import WIRES_INDEX, VethEnd, veth_line
from topologies.networks.shaping import Tap, ingress_line, shape_of, wire_lines
from topologies.networks.spec import LinkSpec, Shaper


class WireIntf(TCIntf):  # type: ignore[misc]
    """One end of a link; frames that leave it are shaped in the namespace ``wires``."""

    def config(self, ip: str | None = None, **_: Any) -> dict[str, Any]:
        """Remember the address (``a.b.c.d/len``); it is set in a batch later."""
        if ip is not None:
            address, length = ip.split("/")
            self.ip, self.prefixLen = address, int(length)
        return {}


class ShapedWire(Link):  # type: ignore[misc]
    """A link of the spec; ``number`` is unique in the network and names the wire's interfaces."""

    def __init__(self, node1: Any, node2: Any, spec: LinkSpec, number: int, **options: Any) -> None:
        self.spec = spec
        self.number = number
        self.profile = spec.profile
        self.inner = (f"w{number}a", f"w{number}b")
        options.update(cls1=WireIntf, cls2=WireIntf)
        super().__init__(node1, node2, **options)

    @classmethod
    def makeIntfPair(cls, *_: object, **__: object) -> None:  # noqa: N802 (Mininet's name)
        """Only declared here; :meth:`create_lines` makes the pair."""

    def stop(self) -> None:
        """Do nothing: the interfaces go with their namespaces."""

    def tap(self, direction: Direction) -> Tap:
        """Interfaces of a direction in the namespace ``wires``."""
        a, b = self.inner
        ingress, egress = (a, b) if direction == "a_to_b" else (b, a)
        meter = 2 * self.number + 1 + DIRECTIONS.index(direction)  # the kernel counts from 1
        return Tap(ingress=ingress, egress=egress, meter=meter)

    def create_lines(self, wires_pid: int) -> list[str]:
        """``ip -batch`` lines that create the veth pairs straight in their namespaces."""
        index = WIRES_INDEX + 2 * self.number
        a, b = (VethEnd(end.name, end.node.pid, end.mac) for end in (self.intf1, self.intf2))
        if self.profile is None:
            return [veth_line(a, index, b)]
        inner_a, inner_b = (VethEnd(name, wires_pid) for name in self.inner)
        return [veth_line(inner_a, index, a), veth_line(inner_b, index + 1, b)]

    def shape_lines(self, shaper: Shaper) -> list[str]:
        """``tc -batch`` lines for the namespace ``wires`` that join and shape both directions."""
        if self.profile is None:
            return []
        lines = [ingress_line(interface) for interface in self.inner]
        for direction in DIRECTIONS:
            lines += wire_lines(self.tap(direction), shape_of(self.profile, direction), shaper)
        return lines
