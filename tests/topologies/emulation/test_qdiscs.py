"""Counters of the shaped queues, read from what tc 6.1 really printed."""

from dataclasses import replace

import pytest

from stage_node.records.fidelity import QdiscCounters
from topologies.emulation.qdiscs import (
    NetemReading,
    counters_of,
    is_idle,
    parse_meters,
    parse_qdiscs,
    since,
)
from topologies.errors import EmulationError

QDISCS = """[
{"kind":"netem","handle":"1:","dev":"w0b","root":true,"refcnt":2,"options":{"limit":3017,
"delay":{"delay":0.035,"jitter":0,"correlation":0},"rate":{"rate":1500000,"packetoverhead":0,
"cellsize":0,"celloverhead":0},"ecn":false,"gap":0},"bytes":34954083,"packets":23107,"drops":3,
"overlimits":0,"requeues":0,"backlog":0,"qlen":0},
{"kind":"ingress","handle":"ffff:","dev":"w0b","parent":"ffff:fff1","options":{},"bytes":1,
"packets":1,"drops":0,"overlimits":0,"requeues":0,"backlog":0,"qlen":0}]"""
METERS = """[{"total acts":1},{"actions":[{"order":0,"kind":"police","index":2,
"control_action":{"type":"drop"},"control_action":{"type":"pipe"},"overhead":14,"ref":2,"bind":1,
"installed":0,"last_used":0,"first_used":0,"stats":{"bytes":428,"packets":6,"drops":251,
"overlimits":251,"requeues":0,"backlog":0,"qlen":0},"not_in_hw":true}]}]"""


def test_buffer_drops_and_random_losses_are_told_apart() -> None:
    counters = counters_of("a-b", "a_to_b", parse_qdiscs(QDISCS)["w0b"], parse_meters(METERS)[2])
    assert counters == QdiscCounters(
        link="a-b",
        direction="a_to_b",
        sent_packets=23107,
        sent_bytes=34954083,
        dropped_packets=251,
        lost_packets=3,
    )


def test_without_a_meter_all_drops_are_the_queues() -> None:
    counters = counters_of("a-b", "a_to_b", NetemReading(10, 1000, 3, 0), None)
    assert (counters.dropped_packets, counters.lost_packets) == (3, 0)


def test_no_meters_at_all_is_an_empty_answer() -> None:
    assert parse_meters("") == {}
    assert parse_meters('[{"total acts":0}]') == {}


def test_a_link_that_lost_its_qdisc_is_an_error() -> None:
    with pytest.raises(EmulationError, match="link a-b has no qdisc for a_to_b"):
        counters_of("a-b", "a_to_b", parse_qdiscs(QDISCS).get("w0a"), 0)


def test_links_are_idle_when_their_queues_are_empty_and_nothing_went_through() -> None:
    quiet = NetemReading(10, 1000, 3, queued_packets=0)
    busy = replace(quiet, queued_packets=8)
    passed = replace(quiet, packets=11)
    assert is_idle({"w0a": quiet}, {"w0a": quiet})
    assert not is_idle({"w0a": busy}, {"w0a": busy})
    assert not is_idle({"w0a": quiet, "w0b": quiet}, {"w0a": quiet, "w0b": passed})
    shown = parse_qdiscs(QDISCS.replace('"qlen":0', '"qlen":8'))
    assert shown["w0b"].queued_packets == 8


def test_what_a_phase_added_is_the_difference() -> None:
    before = QdiscCounters(
        link="a-b",
        direction="a_to_b",
        sent_packets=10,
        sent_bytes=1000,
        dropped_packets=1,
        lost_packets=2,
    )
    after = QdiscCounters(
        link="a-b",
        direction="a_to_b",
        sent_packets=15,
        sent_bytes=1700,
        dropped_packets=1,
        lost_packets=4,
    )
    (added,) = since([before], [after])
    assert added == QdiscCounters(
        link="a-b",
        direction="a_to_b",
        sent_packets=5,
        sent_bytes=700,
        dropped_packets=0,
        lost_packets=2,
    )
