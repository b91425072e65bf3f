"""From an experiment's network section to the network that is built."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Literal, TypeVar

from stage_node.records.vocabulary import Direction
from testbed.experiment.network_section import (
    ChainNetwork,
    CustomLink,
    CustomNetwork,
    EdgeCloudNetwork,
    GeneratedTrace,
    LinkChange,
    LinkChoice,
    Network,
    StarNetwork,
    TraceChoice,
    TraceFile,
    TreeNetwork,
)
from topologies.errors import BadTopologyError, TopologyError
from topologies.links.generators import generate
from topologies.links.profiles import DirectionProfile, LinkProfile, load_profile, parse_profile
from topologies.links.traces import LinkTrace, read_trace
from topologies.networks.scripted import Edit, changeable, scripted
from topologies.networks.shapes import chain, edge_cloud, star, tree
from topologies.networks.spec import LinkSpec, NetworkSpec


def build_network(section: Network) -> NetworkSpec:
    """The network that a section describes.

    Raises BadTopologyError, naming field and reason, for an unknown profile, a value out of
    range, names that cannot work, or a trace that cannot be read.
    """
    try:
        spec = _shaped(section)
    except TopologyError as error:
        raise BadTopologyError(_as_written(section, str(error))) from error
    spec = spec.changed(cpu_share=section.cpu_share)
    if section.changeable:
        spec = changeable(spec)
    edits: list[Edit] = []
    for number, change in enumerate(section.changes):
        edits += _named(f"changes.{number}.link", partial(_edits, section, spec, change))
    return _named("changes", lambda: scripted(spec, edits))


def _as_written(section: Network, complaint: str) -> str:
    """A complaint about hosts or switches names the field in which the section has them."""
    fields = {"edge-cloud": {"hosts": "ues"}, "tree": {"hosts": "nodes", "switches": "nodes"}}
    built, colon, rest = complaint.partition(": ")
    return fields.get(section.shape, {}).get(built, built) + colon + rest


Made = TypeVar("Made")
Side = Literal["up", "down"]
SIDES: dict[Side, Direction] = {"up": "a_to_b", "down": "b_to_a"}


def _edits(section: Network, spec: NetworkSpec, change: LinkChange) -> list[Edit]:
    """A change of both directions is two."""
    link = spec.link(link_name(section, spec, change.link)).name
    return [
        Edit(change.at_s * 1e3, link, direction, values)
        for side, direction in SIDES.items()
        if (values := change.of(side))
    ]


def link_name(section: Network, spec: NetworkSpec, said: str) -> str:
    """The link that a user means: by its own name, or by its field in an edge cloud's section."""
    if isinstance(section, EdgeCloudNetwork):
        *_, access, backhaul = spec.links
        return {"access": access.name, "backhaul": backhaul.name}.get(said, said)
    return said


def _shaped(section: Network) -> NetworkSpec:
    match section:
        case ChainNetwork():
            return chain(section.hosts, _in_order(section.links), section.shaper)
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
        case TreeNetwork():
            return tree(section.root(), _in_order(section.links), section.inner, section.shaper)
        case CustomNetwork():
            return NetworkSpec(
                hosts=tuple(section.hosts),
                switches=tuple(section.switches),
                links=tuple(_custom(number, link) for number, link in enumerate(section.links)),
                shaper=section.shaper,
            )
    raise AssertionError(f"shape {section.shape} has no builder")


def _in_order(links: LinkChoice | list[LinkChoice]) -> LinkProfile | list[LinkProfile]:
    """The profile of all links, or of each."""
    if isinstance(links, LinkChoice):
        return _profile("links", links)
    return [_profile(f"links.{number}", link) for number, link in enumerate(links)]


def _custom(number: int, link: CustomLink) -> LinkSpec:
    a, b = link.between
    profile = None if link.cable else _profile(f"links.{number}", link)
    return LinkSpec(a=a, b=b, profile=profile)


def _profile(field: str, choice: LinkChoice) -> LinkProfile:
    """The profile of one link, its overrides applied, its traces read; errors name the field."""
    base = _named(field, lambda: _untraced_profile(choice))
    traces: dict[str, LinkTrace] = {}
    for side in SIDES:
        own: TraceChoice | None = getattr(choice, side).trace
        if chosen := own or choice.trace:
            where = f"{field}.{side}.trace" if own else f"{field}.trace"
            direction: DirectionProfile = getattr(base, side)
            traces[side] = _named(where, partial(_trace, chosen, direction))
    if not traces:
        return base
    sides = {
        side: getattr(base, side).model_dump() | {"trace": trace} for side, trace in traces.items()
    }
    name = f"{base.name}, {_only(traces)}varying"
    return _named(field, lambda: parse_profile(name, base.model_dump() | sides))


def _named(field: str, make: Callable[[], Made]) -> Made:
    try:
        return make()
    except TopologyError as error:
        raise BadTopologyError(f"{field}: {error}") from error


def _only(sides: Collection[str]) -> str:
    """Prefix of the text about a change: of one direction alone, or of both."""
    return f"{next(iter(sides))} " if len(sides) == 1 else ""


def _trace(choice: TraceChoice, base: DirectionProfile) -> LinkTrace:
    match choice:
        case GeneratedTrace():
            peak_mbit = choice.peak_mbit or base.rate_mbit
            return generate(choice.generate, choice.seed, choice.duration_s, peak_mbit)
        case TraceFile():
            return read_trace(choice.file, choice.bin_ms)


def _untraced_profile(choice: LinkChoice) -> LinkProfile:
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
    own = [side for side in SIDES if choice.given() or getattr(choice, side).given()]
    name = f"{choice.profile}, {_only(own)}changed" if choice.profile else "custom"
    return parse_profile(name, {**directions, "source": source, "latency": latency})
