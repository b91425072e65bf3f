"""The lines for tc say what the profile says, in units that tc cannot round wrongly."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stage_node.records.line.transfer_time import ideal_goodput_mbit
from stage_node.records.vocabulary import DIRECTIONS
from topologies.links.profiles import LinkProfile, catalogue, load_profile, parse_profile
from topologies.networks.shaping import (
    Shape,
    Tap,
    change_lines,
    ideal_rtt_ms,
    ingress_line,
    shape_of,
    wire_lines,
)

TAP = Tap(ingress="w0a", egress="w0b", meter=7)

rates = st.floats(0.01, 10_000).map(lambda rate: round(rate, 6))
delays = st.floats(0, 1000).map(lambda delay: round(delay, 3))


@st.composite
def profiles(draw: st.DrawFn) -> LinkProfile:
    def direction() -> dict[str, float]:
        delay_ms = draw(delays)
        return {
            "rate_mbit": draw(rates),
            "delay_ms": delay_ms,
            "jitter_ms": delay_ms * draw(st.sampled_from([0, 0.5])),
            "loss_percent": draw(st.sampled_from([0, 0.01, 2, 50])),
            "buffer_bdp": draw(st.floats(0.1, 10)),
        }

    return parse_profile(
        "any", {"down": direction(), "up": direction(), "source": "s", "latency": "l"}
    )


def netem_figures(line: str) -> dict[str, float]:
    """An independent reading of tc-netem(8)'s syntax."""
    found = re.search(
        r"netem limit (?P<limit>\d+) delay (?P<delay>\d+)us(?: (?P<jitter>\d+)us)?"
        r" loss random (?P<loss>[\d.]+)% rate (?P<rate>\d+)bit$",
        line,
    )
    assert found, line
    return {name: float(value or 0) for name, value in found.groupdict().items()}


@given(profiles())
def test_netem_gets_the_profiles_rate_delay_jitter_and_loss(profile: LinkProfile) -> None:
    line = wire_lines(TAP, shape_of(profile, "b_to_a"), "netem")[-1]
    assert line.startswith("qdisc add dev w0b root")
    figures = netem_figures(line)
    assert figures["rate"] == pytest.approx(profile.down.rate_mbit * 1e6, abs=0.5)
    assert figures["delay"] == pytest.approx(profile.down.delay_ms * 1e3, abs=0.5)
    assert figures["jitter"] == pytest.approx(profile.down.jitter_ms * 1e3, abs=0.5)
    assert figures["loss"] == pytest.approx(profile.down.loss_percent, abs=1e-6)


@given(profiles())
def test_the_user_sends_with_the_profiles_up_direction(profile: LinkProfile) -> None:
    assert shape_of(profile, "a_to_b").rate_bit == round(profile.up.rate_mbit * 1e6)
    assert shape_of(profile, "b_to_a").rate_bit == round(profile.down.rate_mbit * 1e6)


@given(profiles())
def test_the_buffer_is_the_bandwidth_delay_product_but_never_useless(profile: LinkProfile) -> None:
    buffer = shape_of(profile, "b_to_a").buffer_bytes
    bytes_per_s = profile.down.rate_mbit * 1e6 / 8
    product = bytes_per_s * (profile.down.delay_ms + profile.up.delay_ms) / 1e3
    floor = max(10 * 1514, min(64 * 1514, bytes_per_s * 0.050))
    assert buffer == pytest.approx(max(profile.down.buffer_bdp * product, floor), abs=1)


@given(profiles())
def test_netems_own_limit_is_out_of_reach_even_for_acknowledgements_alone(
    profile: LinkProfile,
) -> None:
    shape = shape_of(profile, "a_to_b")
    flying_s = (profile.up.delay_ms + profile.up.jitter_ms) / 1e3
    flying_bytes = profile.up.rate_mbit * 1e6 / 8 * flying_s
    most_packets = (flying_bytes + shape.buffer_bytes) / 54
    assert shape.limit_packets >= most_packets


def test_frames_are_metered_before_they_are_redirected() -> None:
    shape = Shape(14_600_000, 23_500, 0, 0.0, 85_775, 2483)
    assert [ingress_line("w0a"), *wire_lines(TAP, shape, "netem")] == [
        "qdisc add dev w0a ingress",
        "actions add action police rate 14600000bit burst 85775b overhead 14 "
        "conform-exceed drop/pipe index 7",
        "filter add dev w0a parent ffff: matchall action police index 7 "
        "action mirred egress redirect dev w0b",
        "qdisc add dev w0b root handle 1: netem limit 2483 delay 23500us "
        "loss random 0.000000% rate 14600000bit",
    ]


def test_the_meter_lets_in_what_will_be_lost_as_well() -> None:
    """Else the queue of a saturated lossy line would run empty by loss x rate."""
    meter, _, netem = wire_lines(TAP, Shape(240_000, 0, 0, 4.0, 24_000, 900), "netem")
    assert "police rate 250000bit burst 25000b" in meter
    assert netem.endswith("loss random 4.000000% rate 240000bit")


@pytest.mark.parametrize("shaper", ["netem", "tclink"])
@given(profile=profiles())
def test_a_change_never_adds_or_deletes(shaper: str, profile: LinkProfile) -> None:
    lines = change_lines(TAP, shape_of(profile, "a_to_b"), shaper)  # type: ignore[arg-type]
    assert lines
    assert all(line.split()[1] == "change" for line in lines)


def test_the_comparison_shapes_like_mininets_tclink() -> None:
    """Against the command templates of mininet.link.TCIntf itself."""
    from mininet.link import TCIntf

    shape = shape_of(load_profile("lte"), "a_to_b")
    interface = TCIntf.__new__(TCIntf)
    rate, parent = interface.bwCmds(bw=12)
    theirs = [command % ("", "w0b") for command in rate]
    ours = wire_lines(TAP, shape, "tclink")[1:]
    assert len(ours) == 3
    assert ours[0].split() == theirs[0].split()
    assert ours[1].replace("12000000bit", "12.000000Mbit").split() == theirs[1].split()
    delay, _ = TCIntf.delayCmds(parent, delay="35000us", max_queue_size=1000)
    for word in (delay[0] % ("", "w0b")).split():
        assert word in ours[2].split()


def test_ideals_follow_from_the_headers() -> None:
    assert ideal_goodput_mbit(100) == pytest.approx(95.641, abs=1e-3)
    lan = load_profile("ethernet-lan")
    one_way_us = 98 * 8 / 100
    assert ideal_rtt_ms(lan, 98) == pytest.approx(0.5 + 2 * one_way_us / 1e3)


def test_every_shipped_profile_can_be_shaped() -> None:
    for profile in catalogue().values():
        for direction in DIRECTIONS:
            shape = shape_of(profile, direction)
            assert 0 < shape.limit_packets < 2**32
            assert 0 < shape.buffer_bytes < 2**32
            # The kernel keeps rates in bytes per second: none of ours is rounded by that.
            assert math.isclose(shape.rate_bit % 8, 0)
