"""The way packets take between two nodes, and what can be said of it before measuring."""

from collections import deque

from topologies.errors import BadTopologyError
from topologies.profiles import DirectionProfile
from topologies.spec import Direction, LinkSpec, NetworkSpec, direction_of

Hop = tuple[LinkSpec, Direction]


def path_between(spec: NetworkSpec, start: str, goal: str) -> tuple[Hop, ...]:
    """Links from ``start`` to ``goal``, each with the direction it is taken in; fewest links.

    Raises BadTopologyError for a node that is not there.
    """
    for node in (start, goal):
        if node not in (*spec.hosts, *spec.switches):
            raise BadTopologyError(f"node {node!r} is not known")
    reached: dict[str, tuple[Hop, ...]] = {start: ()}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        for link in spec.links:
            if here in (link.a, link.b):
                direction: Direction = "a_to_b" if here == link.a else "b_to_a"
                there = link.b if here == link.a else link.a
                if there not in reached:
                    reached[there] = (*reached[here], (link, direction))
                    queue.append(there)
    return reached[goal]


def bottleneck_mbit(path: tuple[Hop, ...]) -> float:
    """The smallest configured rate along a path; infinite where nothing on it is shaped."""
    return min((one.rate_mbit for one in _shaped(path)), default=float("inf"))


def delay_ms(path: tuple[Hop, ...]) -> float:
    """The sum of the configured one-way delays along a path."""
    return sum(one.delay_ms for one in _shaped(path))


def _shaped(path: tuple[Hop, ...]) -> list[DirectionProfile]:
    return [direction_of(link.profile, way) for link, way in path if link.profile is not None]
