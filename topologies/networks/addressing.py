"""Addresses and routes of a network, derived from its spec; pure.

Every broadcast domain is one /24 of 10/8: hosts count up from .1, switches down from .254 (they
have an address only so that each link can be probed on its own). MAC addresses are derived from
the IP addresses, so neighbours can be written down instead of asked for. Routes follow the
fewest hops.
"""

from collections import deque
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from topologies.errors import BadTopologyError
from topologies.networks.spec import NetworkSpec, Port

DATA_NETWORK = IPv4Network("10.0.0.0/8")
MANAGEMENT_NETWORK = IPv4Network("172.31.0.0/16")
CONTROLLER_NAME = "ctl"


@dataclass(frozen=True)
class Route:
    """Reach ``subnet`` through the neighbour ``via`` on ``interface``."""

    subnet: IPv4Network
    via: IPv4Address
    interface: str


@dataclass(frozen=True)
class Plan:
    """Addresses of a network's ports, and its routes.

    ``subnets`` is per broadcast domain; ``address`` per port, for hosts and switches (a switch
    has the same one at all its ports); ``routes`` per host for all domains it is not part of.
    """

    spec: NetworkSpec
    subnets: tuple[IPv4Network, ...]
    address: dict[Port, IPv4Address]
    routes: dict[str, tuple[Route, ...]]

    def ports(self, node: str) -> tuple[Port, ...]:
        """The node's ends of links, in the order of the links."""
        return tuple(port for port in self.address if port.node == node)

    def neighbours(self, port: Port) -> tuple[IPv4Address, ...]:
        """Every other address of the port's broadcast domain."""
        own = self.address[port]
        subnet = subnet_of(own)
        return tuple(
            sorted({each for each in self.address.values() if each in subnet and each != own})
        )

    def data_ip(self, host: str, towards: str | None = None) -> IPv4Address:
        """The host's address on the way to another host; without one, of its first interface."""
        ports = self.ports(host)
        if towards is None:
            return self.address[ports[0]]
        there = {subnet_of(self.address[port]): port for port in self.ports(towards)}
        for port in ports:
            if subnet_of(self.address[port]) in there:
                return self.address[port]
        # Not neighbours: the interface by which the nearest of the other's subnets is reached.
        distance = _distances(self.spec, host)
        nearest = min(there, key=lambda subnet: distance[self.subnets.index(subnet)])
        route = next(route for route in self.routes[host] if route.subnet == nearest)
        return self.address[Port(host, route.interface)]


def mac_of(address: IPv4Address) -> str:
    """A locally administered MAC address that holds the IPv4 address."""
    return ":".join(f"{octet:02x}" for octet in (0x02, 0x00, *address.packed))


def subnet_of(address: IPv4Address) -> IPv4Network:
    """The broadcast domain's network an address belongs to."""
    return IPv4Network((int(address) & 0xFFFFFF00, 24))


def management_ips(spec: NetworkSpec) -> dict[str, IPv4Address]:
    """Addresses on the management network: the controller's host first, then the hosts."""
    base = int(MANAGEMENT_NETWORK.network_address)
    return {
        name: IPv4Address(base + number)
        for number, name in enumerate((CONTROLLER_NAME, *spec.hosts), start=1)
    }


def plan_of(spec: NetworkSpec) -> Plan:
    """Addresses and routes; ``BadTopologyError`` where a domain has more nodes than addresses."""
    address: dict[Port, IPv4Address] = {}
    subnets = []
    for index, links in enumerate(spec.domains):
        subnet = IPv4Network((int(DATA_NETWORK.network_address) + (index << 8), 24))
        subnets.append(subnet)
        ports = [port for link in links for port in spec.ends[link]]
        switches = sorted({port.node for port in ports if port.node in spec.switches})
        hosts = [port for port in ports if port.node in spec.hosts]
        if len(hosts) + len(switches) > 254:
            raise BadTopologyError(
                f"links: a broadcast domain has room for 254 nodes, {links[0]}'s has "
                f"{len(hosts) + len(switches)}"
            )
        base = int(subnet.network_address)
        for number, port in enumerate(hosts, start=1):
            address[port] = IPv4Address(base + number)
        for port in ports:
            if port.node in switches:
                address[port] = IPv4Address(base + 254 - switches.index(port.node))
    in_order = {port: address[port] for ends in spec.ends.values() for port in ends}
    domains = _domains_of(spec)
    routes = {host: _routes(domains, host, in_order, tuple(subnets)) for host in spec.hosts}
    return Plan(spec=spec, subnets=tuple(subnets), address=in_order, routes=routes)


def _domains_of(spec: NetworkSpec) -> dict[str, dict[int, Port]]:
    """Host -> the broadcast domains it is part of -> its port there."""
    domains: dict[str, dict[int, Port]] = {host: {} for host in spec.hosts}
    for index, links in enumerate(spec.domains):
        for port in (port for link in links for port in spec.ends[link]):
            if port.node in domains:
                domains[port.node][index] = port
    return domains


def _distances(spec: NetworkSpec, host: str) -> dict[int, int]:
    """Domain -> routers passed on the way to it."""
    domains = _domains_of(spec)
    distance = dict.fromkeys(domains[host], 0)
    queue = deque(distance)
    while queue:
        here = queue.popleft()
        for of_host in domains.values():
            if here in of_host:
                for there in of_host:
                    if there not in distance:
                        distance[there] = distance[here] + 1
                        queue.append(there)
    return distance


def _routes(
    domains: dict[str, dict[int, Port]],
    host: str,
    address: dict[Port, IPv4Address],
    subnets: tuple[IPv4Network, ...],
) -> tuple[Route, ...]:
    """Breadth-first from the host's own domains; each further one inherits the first hop."""
    first_hop: dict[int, tuple[str, Port] | None] = dict.fromkeys(domains[host])
    queue = deque(first_hop)
    while queue:
        here = queue.popleft()
        for router, of_router in domains.items():
            if router == host or here not in of_router:
                continue
            for there in of_router:
                if there not in first_hop:
                    first_hop[there] = first_hop[here] or (
                        domains[host][here].interface,
                        of_router[here],
                    )
                    queue.append(there)
    return tuple(
        Route(subnet=subnets[domain], via=address[hop[1]], interface=hop[0])
        for domain, hop in sorted(first_hop.items())
        if hop is not None
    )
