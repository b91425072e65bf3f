"""When links change to what: traces and scripted changes of a network, in the order of time."""

import itertools

import pytest

from topologies.errors import BadTopologyError
from topologies.links.profiles import LinkProfile, load_profile
from topologies.links.traces import LinkTrace, TraceStep
from topologies.networks.schedule import bases, bottleneck_over_time, changes, varies
from topologies.networks.scripted import Edit, scripted
from topologies.networks.shapes import chain
from topologies.networks.shaping import Tap, change_lines, shape_of, wire_lines
from topologies.networks.spec import NetworkSpec


def traced(*mbit: float) -> LinkProfile:
    """LTE whose uplink has these rates, 100 ms each, again and again."""
    lte = load_profile("lte")
    steps = tuple(TraceStep(at_ms=100 * i, rate_mbit=rate) for i, rate in enumerate(mbit))
    trace = LinkTrace(source="test", steps=steps, period_ms=100 * len(mbit))
    return lte.model_copy(update={"up": lte.up.model_copy(update={"trace": trace})})


def test_two_traces_are_merged_and_what_changes_nothing_is_left_out() -> None:
    spec = chain(["a", "b", "c"], [traced(5, 5, 2), traced(12, 3)])
    seen = [
        (change.at_ms, change.link, change.profile.up.rate_mbit)
        for change in itertools.islice(changes(spec), 6)
    ]
    assert seen == [
        (0, "a-b", 5),
        (100, "b-c", 3),
        (200, "a-b", 2),
        (200, "b-c", 12),
        (300, "a-b", 5),
        (300, "b-c", 3),
    ]
    assert varies(spec) and not varies(chain(["a", "b"], load_profile("lte")))
    assert [(each.link, each.profile.up.rate_mbit) for each in bases(spec)] == [
        ("a-b", 12),
        ("b-c", 12),
    ]


def test_the_bottleneck_over_time_is_the_least_of_the_way() -> None:
    spec = chain(["a", "b", "c"], [traced(5, 1), traced(12, 3)])
    known = bottleneck_over_time(spec, "a", "c", 350)
    assert known == [(0, 5), (100, 1), (200, 5), (300, 1)]
    assert bottleneck_over_time(spec, "c", "a", 350) == [(0, 12)]


def base() -> NetworkSpec:
    return chain(["a", "b"], load_profile("lte"))


def test_scripted_changes_keep_what_they_do_not_name() -> None:
    edits = [
        Edit(10_000, "a-b", "a_to_b", {"rate_mbit": 1.0}),
        Edit(5_000, "a-b", "a_to_b", {"delay_ms": 50.0}),
    ]
    first, second = changes(scripted(base(), edits))
    assert (first.at_ms, first.profile.up.rate_mbit, first.profile.up.delay_ms) == (5_000, 12, 50)
    assert (second.at_ms, second.profile.up.rate_mbit, second.profile.up.delay_ms) == (
        10_000,
        1,
        50,
    )


@pytest.mark.parametrize(
    ("edits", "reason"),
    [
        ([Edit(1, "a-c", "a_to_b", {"rate_mbit": 1.0})], "link 'a-c' is not known"),
        (
            [Edit(ms, "a-b", "a_to_b", {"rate_mbit": rate}) for ms, rate in ((1, 5), (2500, 0.01))],
            "link a-b up at 2.5 s: rate_mbit: .* 0.1, got 0.01",
        ),
        ([Edit(1, "a-b", "b_to_a", {"rate_mbit": 1.0})] * 2, "link a-b down: .*time goes from 1"),
    ],
)
def test_changes_that_cannot_be_are_refused(edits: list[Edit], reason: str) -> None:
    with pytest.raises(BadTopologyError, match=reason):
        scripted(base(), edits)


def test_a_link_that_plays_a_trace_cannot_be_scripted_nor_shaped_by_tclink() -> None:
    spec = chain(["a", "b"], traced(5, 1))
    with pytest.raises(BadTopologyError, match="plays a trace up"):
        scripted(spec, [Edit(1, "a-b", "a_to_b", {"rate_mbit": 1.0})])
    with pytest.raises(BadTopologyError, match="tclink cannot play a trace"):
        chain(["a", "b"], traced(5, 1), "tclink")


def test_a_varying_direction_is_changed_in_place_line_by_line() -> None:
    tap = Tap("w0a", "w0b", 1)
    shape = shape_of(traced(5, 1), "a_to_b")
    made, changed = wire_lines(tap, shape, "netem"), change_lines(tap, shape, "netem")
    assert not any("police" in line for line in made), "a meter forgets when it is changed"
    assert all(" change " in line for line in changed)
    assert [line.replace(" change ", " add ") for line in changed] == [made[1], *made[3:]]
    assert "rate 12000000bit" in made[3] and f"limit {shape.buffer_bytes}b" in made[4]
    assert "police" in " ".join(wire_lines(tap, shape_of(traced(5, 1), "b_to_a"), "netem"))
