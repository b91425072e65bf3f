"""The way packets take between two nodes, and what can be said of it before measuring."""

from collections import deque

from stage_node.records.vocabulary import Direction
from topologies.errors import BadTopologyError
from topologies.links.profiles import DirectionProfile
from topologies.networks.addressing import plan_of, subnet_of
from topologies.networks.spec import LinkSpec, NetworkSpec, direction_of

Hop = tuple[LinkSpec, Direction]


def path_between(spec: NetworkSpec, start: str, goal: str) -> tuple[Hop, ...]:
    """Links from host ``start`` to host ``goal``, each with the direction it is taken in.

    It is the way that the hosts' routes give packets to ``goal``'s address towards ``start``.
    Raises BadTopologyError for a host that is not there.
    """
    for host in (start, goal):
        if host not in spec.hosts:
            raise BadTopologyError(f"host {host!r} is not known")
    if start == goal:
        return ()
    plan = plan_of(spec)
    owner = {
        address: port.node for port, address in plan.address.items() if port.node in spec.hosts
    }
    target = plan.data_ip(goal, start)
    path: list[Hop] = []
    here = start
    while owner[target] != here:
        routes = {route.subnet: route.via for route in plan.routes[here]}
        there = owner[routes.get(subnet_of(target), target)]
        path += _across_switches(spec, here, there)
        here = there
    return tuple(path)


def _across_switches(spec: NetworkSpec, start: str, goal: str) -> list[Hop]:
    """The way between two hosts of one broadcast domain, the only one that there is."""
    reached: dict[str, list[Hop]] = {start: []}
    queue = deque([start])
    while goal not in reached:
        here = queue.popleft()
        for link in spec.links:
            if here in (link.a, link.b):
                direction: Direction = "a_to_b" if here == link.a else "b_to_a"
                there = link.b if here == link.a else link.a
                if there not in reached and (there == goal or there in spec.switches):
                    reached[there] = [*reached[here], (link, direction)]
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
