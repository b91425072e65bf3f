"""The emulated links hold what their profiles promise, measured in a microVM."""

import json
from typing import Any

import pytest

from tests.e2e.conftest import Guest
from topologies.profiles import load_profile
from topologies.shaping import ideal_goodput_mbit
from topologies.spec import direction_of

pytestmark = pytest.mark.microvm

REPEATS = 2
PAUSE_MS = 5.0  # half of the shallowest queue
DEMANDING_MBIT = 200.0  # from here on a guest on a busy machine may fall short
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


def is_excused(probe: dict[str, Any]) -> bool:
    """The link is demanding, and the machine did not serve the last attempt throughout."""
    demanding: bool = probe["ideal_goodput_mbit"] >= ideal_goodput_mbit(DEMANDING_MBIT)
    return demanding and probe["longest_pause_ms"] >= PAUSE_MS


def measured_in_a_guest(guest: Guest) -> dict[str, Any]:
    result = guest.python(PROGRAM, str(guest.directory))
    assert result.status == 0, result.output
    record: dict[str, Any] = json.loads((guest.directory / "record.json").read_text())
    return record


def broken_promises(record: dict[str, Any]) -> set[tuple[str, str]]:
    """Link and what of it was not as configured; a demanding link on a busy machine is excused."""
    goodput = [each for each in record["links"] if each["goodput_mbit"] and not is_excused(each)]
    return {
        *((each["link"], each["direction"]) for each in goodput if not each["ok"]),
        *((each["link"], "round trip") for each in record["rtt"] if not each["ok"]),
        *((each["link"], "loss") for each in record["loss"] if not each["ok"]),
    }


def test_every_shipped_profile_up_to_500_mbit_holds(guest: Guest) -> None:
    record = measured_in_a_guest(guest)
    broken = broken_promises(record)
    # A link that cannot hold never holds; one that another machine's work disturbed holds later.
    for _ in range(REPEATS):
        if broken:
            broken &= broken_promises(measured_in_a_guest(guest))
    assert broken == set()

    name_of = record["profiles"]
    measured = {name_of[each["link"]] for each in record["links"] if each["goodput_mbit"]}
    assert {"ethernet-lan", "wifi", "dsl", "lte", "5g-100", "5g-240", "5g-median"} <= measured
    assert len(record["rtt"]) == len(name_of)
    assert {name_of[each["link"]] for each in record["loss"]} == {"edge", "2g-rural"}

    by_interface = {each["interface"]: each for each in record["capture_list"]}
    assert "300 received" in record["flood"]
    assert by_interface["h0-eth0"]["captured"] == 600  # requests and replies, before the queue
    assert by_interface["h1-eth0"]["captured"] == 600  # and behind it
    assert by_interface["h1-eth1"]["captured"] == 0  # nothing strays to the next link
    assert record["captures"]["dropped_by_kernel"] == 0


# iperf3 knows no pauses of the guest. The median of what its receiver had in each of many intervals
# is that of a line that went on; the mean falls short by no more than was paused.
IPERF3 = """
import json, statistics, sys, time
from pathlib import Path
from topologies.namespaces import run_inside, spawn_inside
from topologies.network import EmulatedNetwork
from topologies.pauses import PauseSampler, paused_during
from topologies.profiles import load_profile
from topologies.shapes import chain

here = Path(sys.argv[1])
lte, slower = load_profile("lte"), load_profile("4g")

def iperf3(net, name, window):
    log, receiver = here / f"iperf3-{name}.json", net.host_pid("b")
    with log.open("wb") as out:
        server = spawn_inside(receiver, ["iperf3", "-s", "-1", "-J", "-i", "0.2"], out, out)
    deadline = time.monotonic() + 10
    while ":5201" not in run_inside(receiver, "ss", "-ltn") and time.monotonic() < deadline:
        time.sleep(0.05)
    began = time.monotonic_ns()
    run_inside(
        net.host_pid("a"),
        *("iperf3", "-J", "-c", net.data_ip("b"), "-t", "8", "-O", "2", "-C", "reno"),
        *("-w", window, "-l", "64K"),
    )
    server.wait(10)
    paused = paused_during([(began, time.monotonic_ns())], machine.pauses())
    intervals = [each["sum"] for each in json.loads(log.read_text())["intervals"]]
    rates = [each["bits_per_second"] / 1e6 for each in intervals if not each["omitted"]]
    return {
        "intervals": len(rates), "median_mbit": statistics.median(rates),
        "mean_mbit": statistics.mean(rates), "paused": paused.share,
    }

with EmulatedNetwork(chain(["a", "b"], lte), here / "logs") as net, PauseSampler() as machine:
    measured = {"lte": iperf3(net, "lte", "150K")}
    net.apply("a-b", "a_to_b", slower)
    net.apply("a-b", "b_to_a", slower)
    measured["4g"] = iperf3(net, "4g", "280K")
    dropped = [each.dropped_packets for each in net.qdisc_counters()]
(here / "record.json").write_text(json.dumps({"measured": measured, "dropped": dropped}))
"""


def what_iperf3_disagrees_with(guest: Guest) -> list[str]:
    result = guest.python(IPERF3, str(guest.directory))
    assert result.status == 0, result.output
    record = json.loads((guest.directory / "record.json").read_text())
    wrong = [] if record["dropped"] == [0, 0] else [f"dropped: {record['dropped']}"]
    for name in ("lte", "4g"):
        ideal_mbit = ideal_goodput_mbit(direction_of(load_profile(name), "a_to_b").rate_mbit)
        measured = record["measured"][name]
        assert measured["intervals"] >= 30, record
        median, mean = measured["median_mbit"] / ideal_mbit, measured["mean_mbit"] / ideal_mbit
        if abs(median - 1) > 0.02 or not 0.98 - measured["paused"] <= mean <= 1.02:
            wrong.append(f"{name}: {median=:.3f}, {mean=:.3f}, paused {measured['paused']:.3f}")
    return wrong


def test_iperf3_agrees_before_and_after_a_change_in_place(guest: Guest) -> None:
    told = []
    for _ in range(1 + REPEATS):  # a long pause costs TCP its window, and is no fault of the link
        told.append(what_iperf3_disagrees_with(guest))
        if not told[-1]:
            return
    pytest.fail(f"not once did all agree: {told}")
