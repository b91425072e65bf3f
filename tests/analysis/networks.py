"""Records of networks for tests."""

from stage_node.records.network import HostRecord, LinkEnd, LinkRecord, ShapeRecord

Port = tuple[str, str, str | None]
"""Node, interface, address."""


def host(*ports: tuple[str, str], mgmt_ip: str = "192.168.0.1") -> HostRecord:
    """A host by its interfaces and their addresses."""
    return HostRecord(mgmt_ip=mgmt_ip, interfaces=dict(ports))


def link(name: str, a: Port, b: Port, rate_mbit: float = 10.0, delay_ms: float = 5.0) -> LinkRecord:
    """A link with the same shape both ways."""
    shape = ShapeRecord(
        rate_mbit=rate_mbit,
        delay_ms=delay_ms,
        jitter_ms=0.0,
        loss_percent=0.0,
        buffer_bytes=50_000,
        limit_packets=1000,
    )
    ends = (LinkEnd(node=node, interface=interface, ip=ip) for node, interface, ip in (a, b))
    return LinkRecord(
        **dict(zip("ab", ends, strict=True)),
        name=name,
        a_to_b=shape,
        b_to_a=shape,
        profile="custom",
        source="the experiment file",
    )
