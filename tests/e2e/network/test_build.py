"""Networks in a microVM: quick to start, as specified, changed in place, gone afterwards."""

import pytest

from stage_node.records.line.transfer_time import serialisation_ms
from tests.e2e.conftest import Guest
from topologies.links.profiles import load_profile
from topologies.networks.spec import direction_of

pytestmark = pytest.mark.microvm


def test_chains_start_and_stop_without_waiting_and_leave_nothing(virtual_guest: Guest) -> None:
    facts = virtual_guest.facts("network/start_chains.py")
    assert max(facts["waited_s"].values()) < 0.2, facts  # of the guest's time: nobody just waits
    assert facts["before"] == facts["during"] == facts["after"]
    assert facts["shells"] == []
    assert all("2 received, 0% packet loss" in pings for pings in facts["heard"].values()), facts


def test_every_shape_connects_all_its_hosts_on_both_networks(virtual_guest: Guest) -> None:
    facts = virtual_guest.facts("network/ping_in_shapes.py")
    assert facts["failed"] == []
    assert facts["asked"] == []  # no address had to be resolved
    assert facts["merged"] == []  # every packet is on the wire as itself
    chain = facts["described"]["chain"]
    assert chain["hosts"]["b"]["interfaces"] == {"b-eth0": "10.0.0.2", "b-eth1": "10.0.1.1"}
    assert [link["name"] for link in chain["links"]] == ["a-b", "b-c"]
    assert chain["links"][0]["a_to_b"]["rate_mbit"] == 12
    (shared, _) = facts["described"]["edge-cloud"]["links"]
    assert shared["a"] == {"node": "ran", "interface": "ran-eth2", "ip": None}


def test_a_full_buffer_drops_and_a_change_loses_nothing(virtual_guest: Guest) -> None:
    facts = virtual_guest.facts("network/fill_buffer.py")
    room = 25_000 // 1514
    assert facts["overflow"] == [room] * 3
    assert facts["dropped"] == [3 * 40 - sum(facts["overflow"]), 0]
    (sent, answered), *later = facts["at_rest"]
    assert sent == sum(facts["overflow"])
    assert later == [[sent, answered], [sent + 5, answered]]
    assert facts["kept"] == 10 and facts["kept_after"] == [10, 10, 10]
    assert facts["again"] == facts["dropped"]
    fibre = direction_of(load_profile("fibre"), "a_to_b")
    ten_frames_ms = 10 * serialisation_ms(1514, fibre.rate_mbit) + fibre.delay_ms
    assert facts["after_s"] == pytest.approx([ten_frames_ms / 1e3] * 3, abs=2e-5)


def test_a_runner_killed_outright_leaves_neither_process_nor_namespace(
    virtual_guest: Guest,
) -> None:
    facts = virtual_guest.facts("network/kill_runner.py")
    namespaces, captures, shells = facts["during"]
    assert namespaces == facts["before"] + 4  # a, b, ctl and wires
    assert (captures, shells) == (2, 4)
    assert facts["after"] == [facts["before"], 0, 0]
