"""From an experiment's network section to the network that is built."""

from testbed.experiment import (
    ChainNetwork,
    EdgeCloudNetwork,
    LinkChoice,
    Network,
    StarNetwork,
)
from topologies.errors import BadTopologyError, TopologyError
from topologies.profiles import LinkProfile, load_profile, parse_profile
from topologies.shapes import chain, edge_cloud, star
from topologies.spec import NetworkSpec


def build_network(section: Network) -> NetworkSpec:
    """The network that a section describes.

    Raises BadTopologyError, naming field and reason, for an unknown profile, a value out of
    range, or names that cannot work.
    """
    match section:
        case ChainNetwork(links=list() as links):
            profiles = [_profile(f"links.{hop}", link) for hop, link in enumerate(links)]
            return chain(section.hosts, profiles, section.shaper)
        case ChainNetwork(links=LinkChoice() as link):
            return chain(section.hosts, _profile("links", link), section.shaper)
        case StarNetwork(links=dict() as links):
            profiles = [_profile(f"links.{host}", links[host]) for host in section.hosts]
            return star(section.hosts, profiles, shaper=section.shaper)
        case StarNetwork(links=LinkChoice() as link):
            return star(section.hosts, _profile("links", link), shaper=section.shaper)
        case EdgeCloudNetwork():
            return edge_cloud(
                section.ues,
                access=_profile("access", section.access),
                backhaul=_profile("backhaul", section.backhaul),
                shaper=section.shaper,
            )
    raise AssertionError(f"shape {section.shape} has no builder")


def _profile(field: str, choice: LinkChoice) -> LinkProfile:
    """The profile of one link; an error names the link's field."""
    try:
        return link_profile(choice)
    except TopologyError as error:
        raise BadTopologyError(f"{field}: {error}") from error


def link_profile(choice: LinkChoice) -> LinkProfile:
    """The profile that a link of an experiment has, with its overrides applied."""
    changed = choice.given() or choice.up.given() or choice.down.given()
    if choice.profile is None:
        source, latency, base = "the experiment file", "one-way, as given", None
    else:
        base = load_profile(choice.profile)
        if not changed:
            return base
        source, latency = f"{base.source}; changed in the experiment file", base.latency
    directions = {
        name: (getattr(base, name).model_dump() if base else {})
        | choice.given()
        | getattr(choice, name).given()
        for name in ("down", "up")
    }
    name = f"{choice.profile}, changed" if choice.profile else "custom"
    return parse_profile(name, {**directions, "source": source, "latency": latency})
