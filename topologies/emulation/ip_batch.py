"""The ``ip -batch`` and ``bridge -batch`` lines that configure a network; pure text.

Every interface is created straight in the namespace it belongs to, so none is ever seen in the
namespace of the runner.
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from typing import NamedTuple

from topologies.networks.addressing import (
    CONTROLLER_NAME,
    MANAGEMENT_NETWORK,
    Plan,
    mac_of,
    management_ips,
)

# Explicit interface indices on one side of every pair. Where both ends of a veth pair have the
# same index, each in its namespace, the kernel takes the change of carrier for one that is not
# urgent, and the link comes up a second later (net/core/link_watch.c).
WIRES_INDEX = 10_000
MANAGEMENT_INDEX = 20_000
MANAGEMENT_BRIDGE = "mgmt"


class VethEnd(NamedTuple):
    """One end of a veth pair: its name, the process whose namespace it is in, its address."""

    interface: str
    pid: int
    mac: str | None = None


def veth_line(end: VethEnd, index: int, peer: VethEnd) -> str:
    """Create a veth pair; ``index`` becomes the interface index of the first end."""
    return f"link add {_end(end)} index {index} type veth peer {_end(peer)}"


def _end(end: VethEnd) -> str:
    address = f" address {end.mac}" if end.mac else ""
    return f"name {end.interface} netns {end.pid}{address}"


def management_veth_lines(plan: Plan, pids: Mapping[str, int]) -> list[str]:
    """A cable from every host to the controller's host, which holds the bridge between them."""
    ips = management_ips(plan.spec)
    return [
        veth_line(
            VethEnd(f"p-{host}", pids[CONTROLLER_NAME]),
            MANAGEMENT_INDEX + number,
            VethEnd(f"{host}-mgmt", pids[host], mac_of(ips[host])),
        )
        for number, host in enumerate(plan.spec.hosts)
    ]


def host_lines(plan: Plan, host: str) -> list[str]:
    """Addresses, permanent neighbours and routes of a host, its management address included."""
    lines = ["link set lo up"]
    for port in plan.ports(host):
        lines += _address_lines(port.interface, plan.address[port], 24)
        lines += _neighbour_lines(port.interface, plan.neighbours(port))
    lines += [
        f"route add {route.subnet} via {route.via} dev {route.interface}"
        for route in plan.routes[host]
    ]
    return lines + _address_lines(
        f"{host}-mgmt", management_ips(plan.spec)[host], MANAGEMENT_NETWORK.prefixlen
    )


def controller_lines(plan: Plan) -> list[str]:
    """The management bridge with the controller's address and every host's cable plugged in."""
    own = management_ips(plan.spec)[CONTROLLER_NAME]
    return [
        "link set lo up",
        *_bridge_lines(MANAGEMENT_BRIDGE, own, [f"p-{host}" for host in plan.spec.hosts]),
        *_address_lines(MANAGEMENT_BRIDGE, own, MANAGEMENT_NETWORK.prefixlen),
    ]


def bridge_lines(plan: Plan, switch: str) -> list[str]:
    """A switch with its ports, and the address from which its links are probed."""
    ports = plan.ports(switch)
    own = plan.address[ports[0]]
    return [
        "link set lo up",
        *_bridge_lines(switch, own, [port.interface for port in ports]),
        *_address_lines(switch, own, 24),
        *_neighbour_lines(switch, plan.neighbours(ports[0])),
    ]


def forwarding_lines(plan: Plan, switch: str) -> list[str]:
    """``bridge -batch`` lines: where each neighbour of a switch is, so that nothing is flooded."""
    return [
        f"fdb add {mac_of(address)} dev {port.interface} master static"
        for link, ends in plan.spec.ends.items()
        for port in ends
        if port.node == switch
        for address in sorted(_beyond(plan, link, switch))
    ]


def wires_lines(interfaces: Iterable[str]) -> list[str]:
    """Bring the inner ends of the wires up; they have no addresses."""
    return [f"link set {interface} up" for interface in interfaces]


def _address_lines(interface: str, address: IPv4Address, prefix_length: int) -> list[str]:
    return [f"addr add {address}/{prefix_length} dev {interface}", f"link set {interface} up"]


def _neighbour_lines(interface: str, addresses: Iterable[IPv4Address]) -> list[str]:
    return [
        f"neigh add {address} lladdr {mac_of(address)} dev {interface} nud permanent"
        for address in addresses
    ]


def _bridge_lines(bridge: str, address: IPv4Address, ports: Iterable[str]) -> list[str]:
    return [
        f"link add name {bridge} address {mac_of(address)} type bridge "
        "stp_state 0 forward_delay 0 mcast_snooping 0",
        *(
            line
            for port in ports
            for line in (f"link set {port} master {bridge}", f"link set {port} up")
        ),
    ]


def _beyond(plan: Plan, link: str, node: str) -> set[IPv4Address]:
    """The addresses a bridge reaches through one of its links, across further bridges."""
    spec = plan.spec
    other = next(port for port in spec.ends[link] if port.node != node)
    reached = {plan.address[other]}
    if other.node in spec.switches:
        for further, ends in spec.ends.items():
            if further != link and other.node in (ends.a.node, ends.b.node):
                reached |= _beyond(plan, further, other.node)
    return reached
