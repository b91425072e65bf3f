"""Describes a planned network for ``network.json``; pure."""

from stage_node.records.network import (
    CableRecord,
    HostRecord,
    LinkEnd,
    LinkRecord,
    NetworkRecord,
    ShapeRecord,
)
from topologies.links.profiles import LinkProfile
from topologies.networks.addressing import Plan, management_ips
from topologies.networks.shaping import Shape, shape_of
from topologies.networks.spec import LinkSpec, Port


def describe_network(plan: Plan) -> NetworkRecord:
    """Describe hosts with addresses, shaped links as specified, and the cables between."""
    spec = plan.spec
    management = management_ips(spec)
    return NetworkRecord(
        hosts={
            host: HostRecord(
                mgmt_ip=str(management[host]),
                interfaces={port.interface: str(plan.address[port]) for port in plan.ports(host)},
            )
            for host in spec.hosts
        },
        links=tuple(_link(plan, link, profile) for link, profile in spec.shaped_links),
        cables=tuple(_cable(plan, link) for link in spec.links if link.profile is None),
        shaper=spec.shaper,
    )


def _link(plan: Plan, link: LinkSpec, profile: LinkProfile) -> LinkRecord:
    a, b = _ends(plan, link)
    return LinkRecord(
        name=link.name,
        a=a,
        b=b,
        a_to_b=_shape(shape_of(profile, "a_to_b")),
        b_to_a=_shape(shape_of(profile, "b_to_a")),
        profile=profile.name,
        source=profile.source,
    )


def _cable(plan: Plan, link: LinkSpec) -> CableRecord:
    a, b = _ends(plan, link)
    return CableRecord(name=link.name, a=a, b=b)


def _ends(plan: Plan, link: LinkSpec) -> tuple[LinkEnd, LinkEnd]:
    ends = plan.spec.ends[link.name]
    return _end(plan, ends.a), _end(plan, ends.b)


def _end(plan: Plan, port: Port) -> LinkEnd:
    is_host = port.node in plan.spec.hosts
    return LinkEnd(
        node=port.node,
        interface=port.interface,
        ip=str(plan.address[port]) if is_host else None,
    )


def _shape(shape: Shape) -> ShapeRecord:
    return ShapeRecord(
        rate_mbit=shape.rate_bit / 1e6,
        delay_ms=shape.delay_us / 1e3,
        jitter_ms=shape.jitter_us / 1e3,
        loss_percent=shape.loss_percent,
        buffer_bytes=shape.buffer_bytes,
        limit_packets=shape.limit_packets,
    )
