"""When which direction of a network's links changes to what; pure."""

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from stage_node.records.vocabulary import DIRECTIONS, Direction
from topologies.links.profiles import DirectionProfile, LinkProfile
from topologies.networks.paths import path_between
from topologies.networks.spec import NetworkSpec, direction_of


@dataclass(frozen=True)
class Change:
    """From ``at_ms`` after the beginning on, this direction is as ``profile`` says."""

    at_ms: float
    link: str
    direction: Direction
    profile: LinkProfile


def changes(spec: NetworkSpec) -> Iterator[Change]:
    """All changes that the traces of a network ask for, in the order of time; endless where one
    repeats. Steps that change nothing are left out."""
    return heapq.merge(
        *(
            _changes_of(link.name, direction, profile)
            for link, profile in spec.shaped_links
            for direction in DIRECTIONS
            if direction_of(profile, direction).trace
        ),
        key=lambda change: change.at_ms,
    )


def bottleneck_over_time(
    spec: NetworkSpec, start: str, goal: str, until_ms: float
) -> list[tuple[float, float]]:
    """(ms, Mbit/s) at 0 and whenever it changes: the least rate on the way between two nodes;
    infinite where nothing on it is shaped."""
    rates = {
        (link.name, way): direction_of(link.profile, way).rate_mbit
        for link, way in path_between(spec, start, goal)
        if link.profile is not None
    }
    known = [(0.0, min(rates.values(), default=math.inf))]
    for change in itertools.takewhile(lambda each: each.at_ms < until_ms, changes(spec)):
        if (change.link, change.direction) in rates:
            one_way = direction_of(change.profile, change.direction)
            rates[change.link, change.direction] = one_way.rate_mbit
            if known[-1][0] == change.at_ms:
                known.pop()
            known.append((change.at_ms, min(rates.values())))
    return known


def varies(spec: NetworkSpec) -> bool:
    """Return True if any direction of any link has a trace."""
    return next(changes(spec), None) is not None


def plays(one_way: DirectionProfile) -> bool:
    """Return True if a direction has a trace that changes anything."""
    steps = one_way.trace.steps if one_way.trace else ()
    return any(one_way.after(step) != one_way for step in steps)


def bases(spec: NetworkSpec) -> Iterator[Change]:
    """Back to what every direction that plays a trace is before it is played."""
    for link, profile in spec.shaped_links:
        for direction in DIRECTIONS:
            if plays(direction_of(profile, direction)):
                yield Change(0.0, link.name, direction, profile)


def _changes_of(link: str, direction: Direction, base: LinkProfile) -> Iterator[Change]:
    one_way = direction_of(base, direction)
    assert one_way.trace is not None
    before = one_way
    for step in one_way.trace.playing():
        now = one_way.after(step)
        if now != before:
            yield Change(step.at_ms, link, direction, _with(base, direction, now))
        before = now


def _with(base: LinkProfile, direction: Direction, one_way: object) -> LinkProfile:
    side = "up" if direction == "a_to_b" else "down"
    return base.model_copy(update={side: one_way})
