"""The emulated links hold what their profiles promise, measured in a microVM."""

import json

import pytest

from tests.e2e.conftest import Guest

pytestmark = pytest.mark.microvm

PAUSE_MS = 5.0  # half of the shallowest queue
PROGRAM = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from topologies.capture import Captures
from topologies.fidelity import judge
from topologies.network import EmulatedNetwork
from topologies.probe import probe_network
from topologies.profiles import catalogue
from topologies.shapes import chain

here = Path(sys.argv[1])
profiles = [profile for profile in catalogue().values() if profile.down.rate_mbit <= 500]
hosts = [f"h{number}" for number in range(len(profiles) + 1)]
with EmulatedNetwork(chain(hosts, profiles), here / "logs") as net:
    probe = probe_network(net)
    with Captures(net, here / "captures", here / "logs") as captures:
        flood = net["h0"].cmd(f"ping -q -c 300 -i 0.002 -s 1400 {net.data_ip('h1', 'h0')}")
        counters = captures.stop()
    fidelity = judge(probe, counters, net.qdisc_counters())
record = fidelity.to_json()
record["profiles"] = {link.name: link.profile.name for link in net.spec.links}
record["capture_list"] = [asdict(each) for each in counters]
record["flood"] = flood
(here / "record.json").write_text(json.dumps(record))
"""


def test_every_shipped_profile_up_to_500_mbit_holds(guest: Guest) -> None:
    result = guest.python(PROGRAM, str(guest.directory))
    assert result.status == 0, result.output
    record = json.loads((guest.directory / "record.json").read_text())
    name_of = record["profiles"]

    measured = [each for each in record["links"] if each["goodput_mbit"]]
    assert {"ethernet-lan", "wifi", "dsl", "lte", "5g-100", "5g-240", "5g-median"} <= {
        name_of[each["link"]] for each in measured
    }
    # A machine with other work pauses the guest; the probe tells, and that alone may excuse it.
    unexplained = [
        each for each in measured if not each["ok"] and each["longest_pause_ms"] < PAUSE_MS
    ]
    assert unexplained == []
    assert [each for each in record["rtt"] if not each["ok"]] == []
    assert len(record["rtt"]) == len(name_of)
    assert {name_of[each["link"]] for each in record["loss"]} == {"edge", "2g-rural"}
    assert [each for each in record["loss"] if not each["ok"]] == []

    by_interface = {each["interface"]: each for each in record["capture_list"]}
    assert "300 received" in record["flood"]
    assert by_interface["h0-eth0"]["captured"] == 600  # requests and replies, before the queue
    assert by_interface["h1-eth0"]["captured"] == 600  # and behind it
    assert by_interface["h1-eth1"]["captured"] == 0  # nothing strays to the next link
    assert record["captures"]["dropped_by_kernel"] == 0
