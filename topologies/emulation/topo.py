"""The shapes as Mininet ``Topo`` classes, as researchers know them.

They hold the same :class:`~topologies.networks.spec.NetworkSpec` that experiments build from;
Mininet's graph is filled from it, with the names, addresses and ports that the spec's plan fixes.
"""

from collections.abc import Sequence

from mininet.topo import Topo

from topologies.links.profiles import load_profile
from topologies.networks import shapes
from topologies.networks.addressing import Plan, mac_of, plan_of
from topologies.networks.spec import NetworkSpec, Port


class PlannedTopo(Topo):  # type: ignore[misc]
    """A topology filled from a spec, which it keeps with its plan as attributes."""

    spec: NetworkSpec
    plan: Plan

    def declare(self, spec: NetworkSpec) -> None:
        """Declare the spec's hosts, switches and links."""
        self.spec, self.plan = spec, plan_of(spec)
        for host in spec.hosts:
            self.addHost(host, ip=f"{self.plan.data_ip(host)}/24")
        for number, switch in enumerate(spec.switches, start=1):
            self.addSwitch(switch, inNamespace=True, dpid=f"{number:x}")
        for number, link in enumerate(spec.links):
            ends = spec.ends[link.name]
            self.addLink(
                link.a,
                link.b,
                intfName1=ends.a.interface,
                intfName2=ends.b.interface,
                addr1=self._mac(ends.a),
                addr2=self._mac(ends.b),
                params1=self._address(ends.a),
                params2=self._address(ends.b),
                spec=link,
                number=number,
            )

    def _mac(self, port: Port) -> str | None:
        # A bridge has its address on the bridge device; its ports get addresses of their own.
        return mac_of(self.plan.address[port]) if port.node in self.spec.hosts else None

    def _address(self, port: Port) -> dict[str, str]:
        is_host = port.node in self.spec.hosts
        return {"ip": f"{self.plan.address[port]}/24"} if is_host else {}


class SpecTopo(PlannedTopo):
    """Any network that can be specified."""

    def build(self, spec: NetworkSpec) -> None:
        """Declare exactly this network."""
        self.declare(spec)


class ChainTopo(PlannedTopo):
    """Hosts ``h1`` ... joined directly, every link with the same shipped profile."""

    def build(self, hosts: int = 4, profile: str = "lte") -> None:
        """Declare a chain; see :func:`topologies.networks.shapes.chain`."""
        self.declare(shapes.chain(_names("h", hosts), load_profile(profile)))


class StarTopo(PlannedTopo):
    """Hosts ``h1`` ... around one switch, every link with the same shipped profile."""

    def build(self, hosts: int = 4, profile: str = "lte") -> None:
        """Declare a star; see :func:`topologies.networks.shapes.star`."""
        self.declare(shapes.star(_names("h", hosts), load_profile(profile)))


class EdgeCloudTopo(PlannedTopo):
    """UEs ``ue1`` ..., ``edge`` and ``cloud``, with shipped profiles for both shaped links."""

    def build(self, ues: int = 2, access: str = "lte", backhaul: str = "fibre") -> None:
        """Declare an edge cloud; see :func:`topologies.networks.shapes.edge_cloud`."""
        self.declare(
            shapes.edge_cloud(_names("ue", ues), load_profile(access), load_profile(backhaul))
        )


class TreeTopo(PlannedTopo):
    """``root`` above ``depth`` levels of ``fanout`` each, every link with the same profile."""

    def build(self, depth: int = 2, fanout: int = 2, profile: str = "lte") -> None:
        """Declare a tree of hosts; see :func:`topologies.networks.shapes.tree`."""
        self.declare(shapes.tree(shapes.full_tree(fanout, depth), load_profile(profile)))


def _names(prefix: str, count: int) -> Sequence[str]:
    return [f"{prefix}{number}" for number in range(1, count + 1)]


topos = {"chain": ChainTopo, "star": StarTopo, "edge-cloud": EdgeCloudTopo, "tree": TreeTopo}
