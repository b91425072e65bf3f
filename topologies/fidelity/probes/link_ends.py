"""The two ends of a link as places to make sockets."""

import socket
from dataclasses import dataclass

from stage_node.records.vocabulary import Direction
from topologies.emulation.network import EmulatedNetwork
from topologies.machine.namespaces import inside
from topologies.networks.spec import LinkSpec


@dataclass(frozen=True)
class Vantage:
    """One end of a link: a process in its namespace and its address there.

    A switch is a vantage point too, by the address of its bridge, so that every link is measured
    by itself.
    """

    pid: int
    ip: str

    def socket(self, kind: int, protocol: int = 0) -> socket.socket:
        """An IPv4 socket in this namespace, not bound."""
        with inside(self.pid):
            return socket.socket(socket.AF_INET, kind, protocol)


def vantages(net: EmulatedNetwork, link: LinkSpec, direction: Direction) -> tuple[Vantage, Vantage]:
    """Sender and receiver for a direction of a link."""
    ends = net.spec.ends[link.name]
    a, b = (
        Vantage(net.host_pid(port.node), str(net.plan.address[port])) for port in (ends.a, ends.b)
    )
    return (a, b) if direction == "a_to_b" else (b, a)
