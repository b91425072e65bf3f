"""The emulated links hold what their profiles promise, measured in a microVM on the virtual clock.

Every figure is measured once: nothing else on this machine can spoil one.
"""

from typing import Any

import pytest

from stage_node.records.line.transfer_time import ideal_goodput_mbit
from tests.e2e.conftest import Guest, virtual_host
from topologies.links.profiles import catalogue, load_profile
from topologies.networks.spec import direction_of

pytestmark = pytest.mark.microvm


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one guest measured of a chain of all shipped profiles."""
    guest = Guest(tmp_path_factory.mktemp("run"), virtual_host())
    measured: dict[str, Any] = guest.facts("network/probe_profiles.py")
    return measured


@pytest.mark.parametrize("name", catalogue())
def test_the_probe_finds_every_shipped_profile_exact(record: dict[str, Any], name: str) -> None:
    (link,) = (link for link, profile in record["profiles"].items() if profile == name)
    profile = catalogue()[name]

    def measured(what: str) -> list[dict[str, Any]]:
        return [each for each in record[what] if each["link"] == link]

    (rtt,) = measured("rtt")
    assert rtt["rtt_min_ms"] == pytest.approx(rtt["expected_ms"], abs=0.002)
    for goodput in measured("links"):
        if profile.down.is_exact and profile.up.is_exact:
            assert goodput["goodput_error"] == pytest.approx(0, abs=0.0001)
        else:
            assert goodput["goodput_error"] is None
    lossy = [way for way in (profile.down, profile.up) if way.loss_percent]
    assert [each["ok"] for each in measured("loss")] == [True] * len(lossy)


def test_the_verdict_rests_on_nothing_but_the_links(record: dict[str, Any]) -> None:
    assert (record["clock"], record["verdict"], record["reasons"]) == ("virtual", "pass", [])
    attempts = {len(each["attempt_errors"]) for each in record["links"] if each["goodput_mbit"]}
    assert attempts == {1}


def test_captures_are_complete_on_both_sides_of_a_queue(record: dict[str, Any]) -> None:
    by_interface = {each["interface"]: each for each in record["capture_list"]}
    assert "300 received" in record["flood"]
    assert by_interface["h0-eth0"]["captured"] == 600  # requests and replies, before the queue
    assert by_interface["h1-eth0"]["captured"] == 600  # and behind it
    assert by_interface["h1-eth1"]["captured"] == 0  # nothing strays to the next link
    assert record["captures"]["dropped_by_kernel"] == 0


def test_iperf3_agrees_before_and_after_a_change_in_place(virtual_guest: Guest) -> None:
    record = virtual_guest.facts("network/iperf3_around_change.py")
    assert record["dropped"] == [0, 0]
    for name in ("lte", "4g"):
        ideal_mbit = ideal_goodput_mbit(direction_of(load_profile(name), "a_to_b").rate_mbit)
        # One frame of thousands is in iperf3's time or not; its short segments have headers too.
        assert record["measured"][name] == pytest.approx(ideal_mbit, rel=0.001)


@pytest.mark.parametrize("kind", ["guest", "virtual_guest"])
def test_the_kernel_offers_the_window_that_a_receive_buffer_is_made_for(
    kind: str, request: pytest.FixtureRequest
) -> None:
    place: Guest = request.getfixturevalue(kind)
    wanted_bytes = 200 * 1448
    record = place.facts("network/offered_window.py", str(wanted_bytes))
    assert 0.98 * wanted_bytes <= record["window_bytes"] <= 1.06 * wanted_bytes
