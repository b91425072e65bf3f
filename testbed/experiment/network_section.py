"""The ``network`` section of an experiment file: shapes, links, and what varies them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from testbed.experiment.typed_yaml import Section
from topologies.links.generators import Pattern
from topologies.links.profiles import DirectionProfile
from topologies.links.ranges import (
    BufferBdp,
    DelayMs,
    JitterMs,
    LossPercent,
    PlayedRateMbit,
    RateMbit,
)
from topologies.links.traces import BIN_MS
from topologies.networks.shapes import Branch, Inner, full_tree


class GeneratedTrace(Section):
    """A trace made by topologies.links.generators; it repeats after ``duration_s``."""

    generate: Pattern
    seed: int = 1
    duration_s: float = Field(60.0, gt=0, le=86_400)
    peak_mbit: RateMbit | None = Field(None, description="best rate; default: the link's own")


class TraceFile(Section):
    """A trace read from a file: CSV, or mahimahi's packet deliveries counted in bins."""

    file: Path
    bin_ms: int = Field(BIN_MS, ge=10, le=60_000)


def _file_alone(value: object) -> object:
    return {"file": value} if isinstance(value, str) else value


def _read_or_made(value: object) -> str:
    given = value if isinstance(value, dict) else vars(value) if value is not None else {}
    return "<made>" if "generate" in given else "<read>"


TraceChoice = Annotated[
    Annotated[GeneratedTrace, Tag("<made>")] | Annotated[TraceFile, Tag("<read>")],
    Discriminator(_read_or_made),
    BeforeValidator(_file_alone),
]


class LinkOverrides(Section):
    """Values that replace a profile's, in one direction or in both; and what varies them."""

    rate_mbit: RateMbit | None = Field(None, description="bottleneck rate")
    delay_ms: DelayMs | None = Field(None, description="one-way delay")
    jitter_ms: JitterMs | None = Field(
        None, description=DirectionProfile.model_fields["jitter_ms"].description
    )
    loss_percent: LossPercent | None = Field(None, description="random packet loss")
    buffer_bdp: BufferBdp | None = Field(
        None, description="droptail buffer in bandwidth-delay products"
    )
    trace: TraceChoice | None = Field(
        None, description="a file, or {generate: lte | starlink | outages, seed, duration_s}"
    )

    def given(self) -> dict[str, float]:
        """The values that are set."""
        names = ("rate_mbit", "delay_ms", "jitter_ms", "loss_percent", "buffer_bdp")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


class LinkValues(LinkOverrides):
    """A profile, values, or a profile with some values replaced.

    ``up`` is the direction away from the user (towards the cloud, or to the next device of a
    chain), ``down`` the other.
    """

    profile: str | None = Field(None, description="name in the catalogue: `concertina profiles`")
    up: LinkOverrides = LinkOverrides()
    down: LinkOverrides = LinkOverrides()


class LinkChoice(LinkValues):
    """A link; in a file, a bare name stands for the profile of that name."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return {"profile": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _says_something(self) -> "LinkChoice":
        self.check_complete()
        return self

    def check_complete(self) -> None:
        """``ValueError`` where a value that every link has is missing."""
        for direction in (self.up, self.down):
            both = self.given() | direction.given()
            if self.profile is None and not {"rate_mbit", "delay_ms"} <= both.keys():
                raise ValueError("needs a profile, or at least rate_mbit and delay_ms")


class LinkSetting(LinkValues):
    """New values of a link of a running experiment; others stay as they are."""

    @model_validator(mode="after")
    def _sets_something(self) -> "LinkSetting":
        if self.trace or self.up.trace or self.down.trace:
            raise ValueError("trace: only an experiment file can give a link a trace")
        if not (self.profile or self.given() or self.up.given() or self.down.given()):
            raise ValueError("nothing to change: give a profile or values")
        return self


class CustomLink(LinkChoice):
    """A link of a custom network; ``up`` leads from the first of the two nodes to the second."""

    between: tuple[str, str] = Field(description="two nodes, the user's side first")
    cable: Literal[True] | None = Field(
        None,
        description="a plain cable: not shaped, not measured, not captured; what ends at a host "
        "behind one has no capture at that end, and no exact times",
    )

    def check_complete(self) -> None:
        """A cable has no values, every other link has all."""
        if not self.cable:
            super().check_complete()
        elif self.profile or self.given() or self.up.given() or self.down.given():
            raise ValueError("a cable has no shape; leave out cable, or profile and values")


def _one_or_each(value: object) -> str:
    return "<each>" if isinstance(value, list) or _maps_hosts(value) else "<one>"


def _maps_hosts(value: object) -> bool:
    """Return True if a mapping is of links by host, rather than one link's own fields."""
    return isinstance(value, dict) and bool(value) and not value.keys() & LinkChoice.model_fields


LinksInOrder = Annotated[
    Annotated[LinkChoice, Tag("<one>")] | Annotated[list[LinkChoice], Tag("<each>")],
    Discriminator(_one_or_each),
]
LinksByHost = Annotated[
    Annotated[LinkChoice, Tag("<one>")] | Annotated[dict[str, LinkChoice], Tag("<each>")],
    Discriminator(_one_or_each),
]


class ChangedValues(Section):
    """Values of a link that the kernel can change while packets are on it."""

    rate_mbit: PlayedRateMbit | None = None
    delay_ms: DelayMs | None = None
    loss_percent: LossPercent | None = None

    def given(self) -> dict[str, float]:
        """The values that are set."""
        names = ChangedValues.model_fields
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


class LinkChange(ChangedValues):
    """A change of one link during the run, in both directions or in one (``up``, ``down``).

    What it does not name stays as it is.
    """

    at_s: float = Field(ge=0, description="since the traces of the phase begin")
    link: str = Field(description="`<a>-<b>`, or `access` or `backhaul`")
    up: ChangedValues = ChangedValues()
    down: ChangedValues = ChangedValues()

    def of(self, side: Literal["up", "down"]) -> dict[str, float]:
        """The values of one direction."""
        own: ChangedValues = getattr(self, side)
        return self.given() | own.given()

    @model_validator(mode="after")
    def _changes_something(self) -> "LinkChange":
        if not (self.of("up") or self.of("down")):
            raise ValueError("nothing to change: give rate_mbit, delay_ms or loss_percent")
        return self


class NetworkSection(Section):
    """Fields that every shape has."""

    shaper: Literal["netem", "tclink"] = Field(
        "netem", description="netem rate+delay, or Mininet's own HTB-then-netem for comparison"
    )
    changes: tuple[LinkChange, ...] = Field(
        (), description="scripted changes: `{at_s: 10, link: access, rate_mbit: 1}`"
    )
    changeable: bool = Field(
        False,
        description="links are built as those with traces are: what `concertina link` changes "
        "holds for the packets that wait already, too",
    )
    cpu_share: dict[str, Annotated[float, Field(ge=0.01, le=1)]] = Field(
        {}, description="of hosts: how much of a CPU they have, to emulate slower devices"
    )


class ChainNetwork(NetworkSection):
    """Devices joined one to the next by direct links, no switch."""

    shape: Literal["chain"]
    hosts: list[str] = Field(min_length=2)
    links: LinksInOrder = Field(description="one for all, or one per hop")

    @model_validator(mode="after")
    def _one_per_hop(self) -> "ChainNetwork":
        if isinstance(self.links, list) and len(self.links) != len(self.hosts) - 1:
            raise ValueError(
                f"links: a chain of {len(self.hosts)} hosts has {len(self.hosts) - 1} links, "
                f"{len(self.links)} given"
            )
        return self


class StarNetwork(NetworkSection):
    """Devices around one switch."""

    shape: Literal["star"]
    hosts: list[str] = Field(min_length=2)
    links: LinksByHost = Field(description="one for all, or one per host")

    @model_validator(mode="after")
    def _one_per_host(self) -> "StarNetwork":
        if isinstance(self.links, dict) and set(self.links) != set(self.hosts):
            raise ValueError(f"links: expected one per host ({', '.join(self.hosts)})")
        return self


class EdgeCloudNetwork(NetworkSection):
    """UEs behind one access link to an edge server, then a backhaul to the cloud."""

    shape: Literal["edge-cloud"]
    ues: list[str] = Field(["ue1"], min_length=1)
    access: LinkChoice
    backhaul: LinkChoice


MOST_NODES = 1000


class TreeNetwork(NetworkSection):
    """A tree, spelled out (``nodes``) or full (``fan_out`` and ``depth``)."""

    shape: Literal["tree"]
    nodes: dict[str, Any] | None = Field(
        None, description="nested: `{cloud: {edge1: [ue1, ue2], edge2: [ue3]}}`"
    )
    fan_out: int | None = Field(None, ge=1, description="how many below each node")
    depth: int | None = Field(None, ge=1, description="levels below the root")
    inner: Inner = Field("hosts", description="what the nodes are that have others below them")
    links: LinksInOrder = Field(description="one for all, or one per level from the root down")

    @model_validator(mode="after")
    def _is_one_tree(self) -> "TreeNetwork":
        root = self.root()
        if isinstance(self.links, list) and len(self.links) != root.depth:
            raise ValueError(
                f"links: the tree has {root.depth} levels of links, {len(self.links)} given"
            )
        return self

    def root(self) -> Branch:
        """The tree; ``ValueError`` where the fields do not give one."""
        if self.nodes is not None and self.fan_out is None and self.depth is None:
            if len(self.nodes) != 1:
                raise ValueError(f"nodes: a tree has one root, {len(self.nodes)} given")
            (branch,) = _branches(self.nodes, "nodes")
            return branch
        if self.nodes is None and self.fan_out and self.depth:
            if sum(self.fan_out**level for level in range(min(self.depth, 10) + 1)) > MOST_NODES:
                raise ValueError(f"fan_out: a tree of more than {MOST_NODES} nodes")
            return full_tree(self.fan_out, self.depth)
        raise ValueError("give nodes, or fan_out and depth")


def _branches(below: object, field: str) -> tuple[Branch, ...]:
    """Read the entry below a node: a mapping, a list, one name, or nothing."""
    match below:
        case None:
            return ()
        case str():
            return (Branch(below),)
        case list():
            return tuple(
                branch
                for number, each in enumerate(below)
                for branch in _branches(each, f"{field}.{number}")
            )
        case dict():
            return tuple(
                Branch(str(name), _branches(each, f"{field}.{name}"))
                for name, each in below.items()
            )
    raise ValueError(f"{field}: expected names, lists and mappings of them, got {below!r}")


class CustomNetwork(NetworkSection):
    """Any hosts, switches and links.

    Hosts route, so they may form a ring; switches are bridges without spanning tree and may not.
    """

    shape: Literal["custom"]
    hosts: list[str] = Field(min_length=2)
    switches: list[str] = Field(default_factory=list)
    links: list[CustomLink] = Field(min_length=1)


Network = Annotated[
    ChainNetwork | StarNetwork | EdgeCloudNetwork | TreeNetwork | CustomNetwork,
    Field(discriminator="shape"),
]


def listed_hosts(section: object) -> tuple[str, ...]:
    """Names of the hosts that a network section lists, as it is written.

    Empty if it lists none, or not as names; a tree's are known once it is built.
    """
    if not isinstance(section, Mapping):
        return ()
    in_edge_cloud = section.get("shape") == "edge-cloud"
    names = section.get("ues", ["ue1"]) if in_edge_cloud else section.get("hosts")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return ()
    return (*names, "edge", "cloud") if in_edge_cloud else tuple(names)
