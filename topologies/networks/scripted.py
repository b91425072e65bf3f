"""Scripted changes of a network's links, as traces that are played once; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from stage_node.records.vocabulary import DIRECTIONS, Direction
from topologies.errors import BadTopologyError
from topologies.links.profiles import LinkProfile, first_reason
from topologies.links.traces import LinkTrace, TraceStep
from topologies.networks.schedule import plays
from topologies.networks.spec import LinkSpec, NetworkSpec, direction_of


@dataclass(frozen=True)
class Edit:
    """At ``at_ms`` one direction of a link takes these values; what it does not name stays."""

    at_ms: float
    link: str
    direction: Direction
    values: dict[str, float]


def changeable(spec: NetworkSpec) -> NetworkSpec:
    """The network with every shaped direction built so that it may be changed at any time.

    It has a trace that changes nothing; see :mod:`topologies.networks.shaping` for what that is
    built of.
    """
    still = LinkTrace(source="changed by command", steps=(TraceStep(at_ms=0),))

    def open_to_change(link: LinkSpec) -> LinkSpec:
        if link.profile is None:
            return link
        sides = {
            side: one_way.model_copy(update={"trace": one_way.trace or still})
            for side, one_way in (("up", link.profile.up), ("down", link.profile.down))
        }
        return link.model_copy(update={"profile": link.profile.model_copy(update=sides)})

    return spec.changed(links=tuple(map(open_to_change, spec.links)))


def scripted(spec: NetworkSpec, edits: Sequence[Edit]) -> NetworkSpec:
    """The network with the changes in its profiles' traces.

    Raises ``BadTopologyError`` for a link that has no shape, one that plays a trace already, a
    value out of range, and two changes of the same direction at the same time.
    """
    for name in {edit.link for edit in edits}:
        spec.link(name)
    links = tuple(
        _changed(link, [edit for edit in edits if edit.link == link.name]) for link in spec.links
    )
    return spec.model_copy(update={"links": links})


def _changed(link: LinkSpec, edits: Sequence[Edit]) -> LinkSpec:
    if not edits:
        return link
    if link.profile is None:
        raise BadTopologyError(f"link {link.name} is a plain cable, it has no shape to change")
    profile = link.profile
    for direction in DIRECTIONS:
        profile = _direction_changed(
            link.name, profile, direction, [edit for edit in edits if edit.direction == direction]
        )
    return link.model_copy(update={"profile": profile})


def _direction_changed(
    link: str, profile: LinkProfile, direction: Direction, edits: Sequence[Edit]
) -> LinkProfile:
    if not edits:
        return profile
    side = "up" if direction == "a_to_b" else "down"
    one_way = direction_of(profile, direction)
    if plays(one_way):
        raise BadTopologyError(f"link {link} plays a trace {side}, it cannot be changed as well")
    values: dict[str, float] = {}
    steps = [TraceStep(at_ms=0)]
    for edit in sorted(edits, key=lambda edit: edit.at_ms):
        values |= edit.values
        if edit.at_ms == 0:
            steps.clear()
        try:
            steps.append(TraceStep.model_validate({"at_ms": edit.at_ms} | values))
        except ValidationError as error:
            when = f"at {edit.at_ms / 1e3:g} s"
            raise BadTopologyError(f"link {link} {side} {when}: {first_reason(error)}") from error
    try:
        trace = LinkTrace(source="scripted in the experiment file", steps=tuple(steps))
        changed = type(one_way).model_validate(one_way.model_dump() | {"trace": trace})
    except ValidationError as error:
        raise BadTopologyError(f"link {link} {side}: {first_reason(error)}") from error
    return profile.model_copy(update={side: changed})
