"""``network.json``: hosts, interfaces, addresses, and the links as they are configured."""

from stage_node.records.record import RunFile, RunFilePart
from stage_node.records.vocabulary import Direction


class HostRecord(RunFilePart):
    """A host: its address on the management network, and that of each emulated interface."""

    mgmt_ip: str
    interfaces: dict[str, str]


class LinkEnd(RunFilePart):
    """End of a link: a host (with an address) or a switch (without)."""

    node: str
    interface: str
    ip: str | None


class CableRecord(RunFilePart):
    """A link without a shape and without captures; ``a_to_b`` begins at ``a``."""

    name: str
    a: LinkEnd
    b: LinkEnd

    def ends(self, direction: Direction) -> tuple[LinkEnd, LinkEnd]:
        """The sending and the receiving end."""
        return (self.a, self.b) if direction == "a_to_b" else (self.b, self.a)


class ShapeRecord(RunFilePart):
    """One direction of a link as it was configured: no figure is made of it."""

    rate_mbit: float
    delay_ms: float
    jitter_ms: float
    loss_percent: float
    buffer_bytes: int
    limit_packets: int


class LinkRecord(CableRecord):
    """A shaped link, the name of its profile and where the profile comes from."""

    a_to_b: ShapeRecord
    b_to_a: ShapeRecord
    profile: str
    source: str

    def shape(self, direction: Direction) -> ShapeRecord:
        """Configuration of one direction."""
        return self.a_to_b if direction == "a_to_b" else self.b_to_a


class NetworkRecord(RunFile):
    """The emulated network."""

    hosts: dict[str, HostRecord]
    links: tuple[LinkRecord, ...]
    cables: tuple[CableRecord, ...] = ()  # older runs had none
    shaper: str
