"""A change of a link that somebody asks for while the network runs; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from stage_node.records.vocabulary import DIRECTIONS
from topologies.errors import BadTopologyError
from topologies.links.profiles import DirectionProfile, LinkProfile, first_reason
from topologies.networks.schedule import Change, plays
from topologies.networks.shaping import shape_of
from topologies.networks.spec import NetworkSpec, direction_of


@dataclass(frozen=True)
class Command:
    """From now on a link has these values, by direction; what they do not name stays."""

    link: str
    up: Mapping[str, float]
    down: Mapping[str, float]


def commanded(spec: NetworkSpec, command: Command, now: LinkProfile) -> LinkProfile:
    """Apply a command to the link's present values ``now``; returns the new ones.

    Raises ``BadTopologyError`` for a value out of range, a direction that plays a trace, and
    nothing to change.
    """
    if spec.link(command.link).profile is None:
        raise BadTopologyError(f"link {command.link} is a plain cable, it has no shape to change")
    changed: dict[str, DirectionProfile] = {}
    for side, values in (("up", command.up), ("down", command.down)):
        one_way: DirectionProfile = getattr(now, side)
        if not values:
            continue
        if plays(one_way):
            raise BadTopologyError(
                f"link {command.link} plays a trace {side}, it cannot be changed as well"
            )
        try:
            changed[side] = DirectionProfile.model_validate(one_way.model_dump() | dict(values))
        except ValidationError as error:
            raise BadTopologyError(f"link {command.link} {side}: {first_reason(error)}") from error
    if not changed:
        raise BadTopologyError(f"link {command.link}: nothing to change")
    return now.model_copy(update=changed)


def steps_between(link: str, before: LinkProfile, after: LinkProfile) -> Iterator[Change]:
    """The changes from one to the other.

    The buffer is counted in round trips, so that a delay of one direction concerns both.
    """
    for direction in DIRECTIONS:
        different = shape_of(before, direction) != shape_of(after, direction)
        if different and not plays(direction_of(after, direction)):
            yield Change(0.0, link, direction, after)
