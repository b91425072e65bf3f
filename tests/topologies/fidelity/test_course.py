"""How long a measurement takes and what floods a direction follows from profile and clock alone."""

import pytest

from stage_node.records.line.ethernet import FRAME_BYTES, SEGMENT_BYTES
from stage_node.records.vocabulary import DIRECTIONS, ClockKind, Direction
from topologies.fidelity.course import DATAGRAMS_PER_BUFFER, Course
from topologies.links.profiles import catalogue
from topologies.networks.shaping import shape_of
from topologies.networks.spec import direction_of

CLOCKS: tuple[ClockKind, ...] = ("real", "virtual")
EVERY_WAY = [(name, direction) for name in catalogue() for direction in DIRECTIONS]


def course(name: str, direction: Direction, clock: ClockKind = "real") -> Course:
    profile = catalogue()[name]
    buffer_bytes = shape_of(profile, direction).buffer_bytes
    one_way, steps = direction_of(profile, direction), DATAGRAMS_PER_BUFFER[clock]
    return Course(one_way, profile.rtt_ms, buffer_bytes, steps)


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize(("name", "direction"), EVERY_WAY)
def test_a_flood_overfills_the_queue_in_fine_steps_before_it_is_measured(
    name: str, direction: Direction, clock: ClockKind
) -> None:
    way = course(name, direction, clock)
    assert 16 <= way.payload_bytes <= 1472  # the least that iperf3 sends, the most in a frame
    assert way.frame_bytes * DATAGRAMS_PER_BUFFER[clock] <= way.buffer_bytes
    if way.floods_by_udp:
        assert way.flood[0] == "-u"
        offered_bit = float(way.flood[2])
        excess_bytes_per_s = (offered_bit - way.one_way.rate_mbit * 1e6) / 8
        assert excess_bytes_per_s * way.fill_s >= way.buffer_bytes
    else:
        assert "-u" not in way.flood


@pytest.mark.parametrize(("name", "direction"), EVERY_WAY)
def test_on_the_virtual_clock_datagrams_fill_every_queue_and_leave_room_for_pings(
    name: str, direction: Direction
) -> None:
    way = course(name, direction, "virtual")
    line_per_s = way.one_way.rate_mbit * 1e6 / 8 / way.frame_bytes
    excess_bytes = (way.flood_per_s - line_per_s) * way.flood_fill_s * way.frame_bytes
    assert excess_bytes == pytest.approx(way.buffer_bytes)
    assert way.fill_frames >= line_per_s * way.flood_fill_s
    assert way.frame_bytes > 1.5 * 98  # where a datagram finds no room, a ping still may


def test_chance_in_the_loss_moves_a_queue_the_more_the_longer_it_is_full() -> None:
    rural, lte = (course(name, "b_to_a", "virtual") for name in ("2g-rural", "lte"))
    assert lte.queue_chance_share(1000) == 0
    assert 0.05 < rural.queue_chance_share(15) < rural.queue_chance_share(100)


def test_a_rate_is_measured_over_a_thousand_frames_but_no_longer_than_a_minute() -> None:
    dsl = course("dsl", "a_to_b")
    assert dsl.rate_s(1514) * 0.384e6 / 8 >= 1000 * 1514
    assert course("2g-rural", "a_to_b").rate_s(1514) == 60
    assert course("5g-240", "b_to_a").rate_s(1514) == 8


@pytest.mark.parametrize("name", [name for name, p in catalogue().items() if p.up.is_exact])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_tcp_window_keeps_the_line_busy_and_does_not_overflow_the_queue(
    name: str, direction: Direction
) -> None:
    way = course(name, direction)
    frame_bytes = way.window_bytes / SEGMENT_BYTES * FRAME_BYTES
    flying_bytes = way.one_way.rate_mbit * 125 * way.rtt_ms
    withheld_bytes = 2 * FRAME_BYTES  # by delayed acknowledgements
    assert flying_bytes + withheld_bytes < frame_bytes <= flying_bytes + way.buffer_bytes
