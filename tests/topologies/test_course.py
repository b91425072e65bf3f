"""How long a measurement takes and what floods a direction follows from profile and clock alone."""

import pytest

from topologies.course import EFFORTS, Course
from topologies.fidelity import ClockKind
from topologies.profiles import catalogue
from topologies.shaping import FRAME_BYTES, SEGMENT_BYTES, shape_of
from topologies.spec import DIRECTIONS, Direction, direction_of

CLOCKS: tuple[ClockKind, ...] = ("real", "virtual")
EVERY_WAY = [(name, direction) for name in catalogue() for direction in DIRECTIONS]


def course(name: str, direction: Direction, clock: ClockKind = "real") -> Course:
    profile = catalogue()[name]
    buffer_bytes = shape_of(profile, direction).buffer_bytes
    return Course(direction_of(profile, direction), profile.rtt_ms, buffer_bytes, EFFORTS[clock])


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize(("name", "direction"), EVERY_WAY)
def test_a_flood_overfills_the_queue_in_fine_steps_before_it_is_measured(
    name: str, direction: Direction, clock: ClockKind
) -> None:
    way = course(name, direction, clock)
    assert 16 <= way.payload_bytes <= 1472  # the least that iperf3 sends, the most in a frame
    assert way.frame_bytes * EFFORTS[clock].datagrams_per_buffer <= way.buffer_bytes
    if way.floods_by_udp:
        assert way.flood[0] == "-u"
        offered_bit = float(way.flood[2])
        excess_bytes_per_s = (offered_bit - way.one_way.rate_mbit * 1e6) / 8
        assert excess_bytes_per_s * way.fill_s >= way.buffer_bytes
    else:
        assert "-u" not in way.flood


@pytest.mark.parametrize(("name", "direction"), EVERY_WAY)
def test_on_the_virtual_clock_datagrams_flood_every_line_one_by_one(
    name: str, direction: Direction
) -> None:
    way = course(name, direction, "virtual")
    assert way.floods_by_udp
    pacing_us = int(way.flood[way.flood.index("--pacing-timer") + 1])
    assert pacing_us * way.one_way.rate_mbit * 1.5 <= way.frame_bytes * 8
    assert way.frame_bytes > 1.5 * 98  # or no ping would find room in the queue


def test_a_rate_is_measured_over_a_thousand_frames_but_no_longer_than_a_minute() -> None:
    dsl = course("dsl", "a_to_b")
    assert dsl.rate_s(1514) * 0.384e6 / 8 >= 1000 * 1514
    assert course("2g-rural", "a_to_b").rate_s(1514) == 60
    assert course("5g-240", "b_to_a").rate_s(1514) == 8


@pytest.mark.parametrize(("name", "direction"), EVERY_WAY)
def test_on_the_virtual_clock_one_frame_is_far_below_the_tolerance(
    name: str, direction: Direction
) -> None:
    way = course(name, direction, "virtual")
    frames = way.rate_s(1514) * way.one_way.rate_mbit * 1e6 / 8 / 1514
    assert 1 / frames < 0.0001 / 4


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
