"""Link profiles carry real numbers with their sources, and refuse nonsense in one clear line."""

from pathlib import Path

import pytest

from topologies.errors import BadTopologyError
from topologies.links.profiles import (
    LinkProfile,
    catalogue,
    load_profile,
    load_profiles,
    parse_profile,
    parse_profiles,
)

WANTED = {
    *("ethernet-lan", "gigabit-lan", "wifi", "dsl", "cable", "fibre"),
    *("2g-rural", "edge", "3g", "slow-4g", "4g", "lte", "5g-median", "5g-100", "5g-240"),
    *("starlink", "geo"),
}


def fields(**changes: object) -> dict[str, object]:
    """What a YAML file says of a good profile, with some of it changed."""
    good = {
        "down": {"rate_mbit": 10, "delay_ms": 20},
        "up": {"rate_mbit": 1, "delay_ms": 20},
        "source": "a measurement",
        "latency": "40 ms RTT, halved",
    }
    return {**good, **changes}


def test_the_catalogue_has_every_access_network_the_testbed_promises() -> None:
    assert set(catalogue()) >= WANTED
    assert all(profile.source and profile.latency for profile in catalogue().values())


@pytest.mark.parametrize(
    ("name", "down_up_mbit", "source_rtt_ms"),
    [
        # As printed in WebPageTest's connectivity.ini.sample and Lighthouse's throttling.md.
        ("dsl", (1.5, 0.384), 50),
        ("cable", (5, 1), 28),
        ("fibre", (20, 5), 4),
        ("4g", (9, 9), 170),
        ("lte", (12, 12), 70),
        ("slow-4g", (1.6, 0.75), 150),
    ],
)
def test_a_round_trip_in_the_source_is_halved_per_direction(
    name: str, down_up_mbit: tuple[float, float], source_rtt_ms: float
) -> None:
    profile = load_profile(name)
    assert (profile.down.rate_mbit, profile.up.rate_mbit) == down_up_mbit
    assert profile.down.delay_ms == profile.up.delay_ms == source_rtt_ms / 2
    assert profile.rtt_ms == source_rtt_ms
    assert f"{source_rtt_ms} ms RTT" in profile.latency


def test_a_one_way_delay_in_the_source_stays_as_it_is() -> None:
    edge = load_profile("edge")
    assert (edge.down.delay_ms, edge.up.delay_ms) == (400, 440)
    assert edge.down.loss_percent == edge.up.loss_percent == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"down": {"rate_mbit": -3}}, "down.rate_mbit: .*greater than or equal to 0.*got -3"),
        ({"down": {"rate_mbit": 0}}, "down.rate_mbit: .*greater than or equal to 0.001"),
        ({"up": {"rate_mbit": float("nan")}}, "up.rate_mbit: .*"),
        ({"up": {"rate_mbit": 1, "delay_ms": -1}}, "up.delay_ms: .*greater than or equal to 0"),
        (
            {"up": {"rate_mbit": 1, "loss_percent": 100}},
            "loss_percent: .*less than or equal to 99.9",
        ),
        ({"up": {"rate_mbit": 1, "buffer_bdp": 0}}, "up.buffer_bdp: .*greater than 0"),
        ({"up": {"delay_ms": 1}}, "up.rate_mbit: missing"),
        ({"up": {"rate": 1}}, "up.rate_mbit: missing"),
        ({"up": {"rate_mbit": 1, "rate": 1}}, "up.rate: unknown field"),
        ({"up": {"rate_mbit": 1, "delay_ms": 2, "jitter_ms": 3}}, r"jitter_ms \(3\) must not"),
        ({"source": ""}, "source: "),
    ],
)
def test_a_bad_value_is_refused_with_its_field(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BadTopologyError, match=rf"profile mine: .*{message}") as refusal:
        parse_profile("mine", fields(**changes))
    assert "\n" not in str(refusal.value)
    assert refusal.value.exit_status == 2


MIXED = """
barn: {down: {rate_mbit: 5}, up: {rate_mbit: 1}, source: me, latency: none}
hill: {down: {rate_mbit: 0}, up: {rate_mbit: 1, delay_ms: -2}, source: me, latency: none}
hole: fast
"""


def test_every_mistake_of_a_file_is_told_at_once_and_what_is_right_can_be_used(
    tmp_path: Path,
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(MIXED)
    with pytest.raises(BadTopologyError) as refusal:
        load_profiles(str(file))
    hill, hole = str(refusal.value).splitlines()
    assert hill.startswith(f"{file}: profile hill: down.rate_mbit: ") and "up.delay_ms: " in hill
    assert hole == f"{file}: profile hole: expected a mapping, got 'fast'"
    assert load_profile(f"{file}:barn").down.rate_mbit == 5
    with pytest.raises(BadTopologyError, match=rf"^{file}: profile hill: .*delay_ms.*$"):
        load_profile(f"{file}:hill")
    with pytest.raises(BadTopologyError, match=rf"^{file}: profile 'bran' .* mean barn\?$"):
        load_profile(f"{file}:bran")


def test_a_profile_given_twice_is_refused_with_its_line() -> None:
    text = "barn:\n  rate_mbit: 10\n  delay_ms: 1\nbarn: {rate_mbit: 20, delay_ms: 1}\n"
    with pytest.raises(BadTopologyError, match="line 4: 'barn' is given twice"):
        parse_profiles(text)


def test_a_profile_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(BadTopologyError, match="profile mine: expected a mapping, got 'fast'"):
        parse_profile("mine", "fast")


@pytest.mark.parametrize(("typed", "meant"), [("starlnk", "starlink"), ("lte-7", "lte")])
def test_a_mistyped_profile_is_refused_with_the_one_that_may_be_meant(
    typed: str, meant: str
) -> None:
    with pytest.raises(BadTopologyError, match=rf"'{typed}' is not known; did you mean {meant}\?$"):
        load_profile(typed)


def test_a_profile_like_no_other_is_refused_with_all_there_are() -> None:
    with pytest.raises(BadTopologyError, match="'zzz' is not known; known are ") as refusal:
        load_profile("zzz")
    assert all(name in str(refusal.value) for name in catalogue())


def test_only_a_link_without_loss_and_jitter_is_exact() -> None:
    def with_up(**up: float) -> LinkProfile:
        return parse_profile("mine", fields(up={"rate_mbit": 1, "delay_ms": 9, **up}))

    assert with_up().up.is_exact
    assert not with_up(loss_percent=0.1).up.is_exact
    assert not with_up(jitter_ms=1).up.is_exact
