"""The shapes of networks that experiments name: ``chain``, ``star`` and ``edge-cloud``."""

from collections.abc import Sequence
from itertools import pairwise

from topologies.errors import BadTopologyError
from topologies.profiles import LinkProfile
from topologies.spec import LinkSpec, NetworkSpec, Shaper


def chain(
    hosts: Sequence[str], profiles: LinkProfile | Sequence[LinkProfile], shaper: Shaper = "netem"
) -> NetworkSpec:
    """Devices in a row, joined directly; ``profiles`` is one for all links or one per link.

    The earlier host of each link is the user's side of its profile.
    """
    pairs = list(pairwise(hosts))
    links = tuple(
        LinkSpec(a=a, b=b, profile=profile)
        for (a, b), profile in zip(pairs, _each(profiles, len(pairs), "chain"), strict=True)
    )
    return NetworkSpec(hosts=tuple(hosts), links=links, shaper=shaper)


def star(
    hosts: Sequence[str],
    profiles: LinkProfile | Sequence[LinkProfile],
    switch: str = "s1",
    shaper: Shaper = "netem",
) -> NetworkSpec:
    """Hosts around one switch; every host is the user's side of its link."""
    links = tuple(
        LinkSpec(a=host, b=switch, profile=profile)
        for host, profile in zip(hosts, _each(profiles, len(hosts), "star"), strict=True)
    )
    return NetworkSpec(hosts=tuple(hosts), switches=(switch,), links=links, shaper=shaper)


def edge_cloud(
    ues: Sequence[str], access: LinkProfile, backhaul: LinkProfile, shaper: Shaper = "netem"
) -> NetworkSpec:
    """UEs behind one access link to ``edge``, then a backhaul to ``cloud``.

    One UE has the access link for itself. Several are plugged into the switch ``ran`` by plain
    cables and share the access link ``ran-edge``.
    """
    hosts = (*ues, "edge", "cloud")
    backhaul_link = LinkSpec(a="edge", b="cloud", profile=backhaul)
    if len(ues) == 1:
        access_link = LinkSpec(a=ues[0], b="edge", profile=access)
        return NetworkSpec(hosts=hosts, links=(access_link, backhaul_link), shaper=shaper)
    cables = tuple(LinkSpec(a=ue, b="ran", profile=None) for ue in ues)
    shared = LinkSpec(a="ran", b="edge", profile=access)
    return NetworkSpec(
        hosts=hosts, switches=("ran",), links=(*cables, shared, backhaul_link), shaper=shaper
    )


def _each(
    profiles: LinkProfile | Sequence[LinkProfile], links: int, shape: str
) -> Sequence[LinkProfile]:
    if isinstance(profiles, LinkProfile):
        return [profiles] * links
    if len(profiles) != links:
        raise BadTopologyError(
            f"{shape}: {links} links need as many profiles (or one for all), got {len(profiles)}"
        )
    return profiles
