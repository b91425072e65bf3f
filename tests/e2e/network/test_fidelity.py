"""The emulated links hold what their profiles promise, measured in a microVM on the virtual clock.

Every figure is measured once: nothing else on this machine can spoil one.
"""

import json
from typing import Any

import pytest

from stage_node.records.line.transfer_time import ideal_goodput_mbit
from tests.e2e.conftest import Guest, virtual_host
from topologies.links.profiles import catalogue, load_profile
from topologies.networks.spec import direction_of

pytestmark = pytest.mark.microvm

PROGRAM = """
import json
from dataclasses import asdict
from pathlib import Path
from topologies.emulation.capture import Captures
from topologies.fidelity.verdict import judge
from topologies.emulation.network import EmulatedNetwork
from topologies.fidelity.probe import probe_network
from topologies.links.profiles import catalogue
from topologies.networks.shapes import chain

profiles = list(catalogue().values())
hosts = [f"h{number}" for number in range(len(profiles) + 1)]
with EmulatedNetwork(chain(hosts, profiles), Path("logs")) as net:
    probe = probe_network(net, "virtual")
    with Captures(net, Path("captures"), Path("logs")) as captures:
        flood = net["h0"].cmd(f"ping -q -c 300 -i 0.002 -s 1400 {net.data_ip('h1', 'h0')}")
        counters = captures.stop()
    fidelity = judge(probe, counters, net.qdisc_counters(), clock="virtual")
record = fidelity.to_json()
record["profiles"] = {link.name: link.profile.name for link in net.spec.links}
record["capture_list"] = [asdict(each) for each in counters]
record["flood"] = flood
Path("record.json").write_text(json.dumps(record))
"""


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one guest measured of a chain of all shipped profiles."""
    guest = Guest(tmp_path_factory.mktemp("run"), virtual_host())
    result = guest.python(PROGRAM)
    assert result.status == 0, result.output
    measured: dict[str, Any] = json.loads((guest.directory / "record.json").read_text())
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


IPERF3 = """
import json
from pathlib import Path
from topologies.emulation.network import EmulatedNetwork
from topologies.links.profiles import load_profile
from topologies.networks.receive_buffer import receive_buffer_bytes
from topologies.networks.shapes import chain
from topologies.emulation.sysctls import write_sysctls
from topologies.fidelity.probes.independent_tools import iperf3
from topologies.fidelity.probes.link_ends import vantages

lte, slower = load_profile("lte"), load_profile("4g")
with EmulatedNetwork(chain(["a", "b"], lte), Path("logs")) as net:
    (link,) = net.spec.links

    def rate(name, window_bytes):
        sender, receiver = vantages(net, link, "a_to_b")
        room = receive_buffer_bytes(window_bytes)
        write_sysctls(receiver.pid, {"ipv4/tcp_rmem": f"4096 {room} {room}"})
        arguments = ("-t", "4", "-O", "3", "-C", "reno", "-l", "64K")
        return iperf3(sender, receiver, arguments, 100, Path(f"iperf3-{name}.json")).mbit

    measured = {"lte": rate("lte", 150_000)}
    net.apply("a-b", "a_to_b", slower)
    net.apply("a-b", "b_to_a", slower)
    measured["4g"] = rate("4g", 280_000)
    dropped = [each.dropped_packets for each in net.qdisc_counters()]
Path("record.json").write_text(json.dumps({"measured": measured, "dropped": dropped}))
"""


def test_iperf3_agrees_before_and_after_a_change_in_place(virtual_guest: Guest) -> None:
    result = virtual_guest.python(IPERF3)
    assert result.status == 0, result.output
    record = json.loads((virtual_guest.directory / "record.json").read_text())
    assert record["dropped"] == [0, 0]
    for name in ("lte", "4g"):
        ideal_mbit = ideal_goodput_mbit(direction_of(load_profile(name), "a_to_b").rate_mbit)
        # One frame of thousands is in iperf3's time or not; its short segments have headers too.
        assert record["measured"][name] == pytest.approx(ideal_mbit, rel=0.001)


WINDOW = """
import json, socket, statistics, struct, threading
from pathlib import Path
from topologies.emulation.network import EmulatedNetwork
from topologies.links.profiles import load_profile
from topologies.networks.receive_buffer import receive_buffer_bytes
from topologies.networks.shapes import chain
from topologies.emulation.sysctls import write_sysctls
from topologies.fidelity.probes.link_ends import vantages

TCP_REPAIR, TCP_REPAIR_WINDOW, SILENTLY = 19, 29, -1
WINDOW_BYTES = 200 * 1448

with EmulatedNetwork(chain(["a", "b"], load_profile("ethernet-lan")), Path("logs")) as net:
    (link,) = net.spec.links
    sender, receiver = vantages(net, link, "a_to_b")
    room = receive_buffer_bytes(WINDOW_BYTES)
    write_sysctls(receiver.pid, {"ipv4/tcp_rmem": f"4096 {room} {room}"})
    with receiver.socket(socket.SOCK_STREAM) as listener, sender.socket(socket.SOCK_STREAM) as out:
        listener.bind((receiver.ip, 0))
        listener.listen(1)
        out.connect(listener.getsockname())
        into, _ = listener.accept()
        threading.Thread(target=out.sendall, args=(bytes(4_000_000),), daemon=True).start()
        left, offered = 4_000_000, []
        while left > 0:
            left -= len(into.recv(65536))
            into.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
            state = into.getsockopt(socket.IPPROTO_TCP, TCP_REPAIR_WINDOW, 20)
            into.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, SILENTLY)
            offered.append(struct.unpack("5I", state)[3])
Path("record.json").write_text(json.dumps(statistics.median(offered)))
"""


@pytest.mark.parametrize("kind", ["guest", "virtual_guest"])
def test_the_kernel_offers_the_window_that_a_receive_buffer_is_made_for(
    kind: str, request: pytest.FixtureRequest
) -> None:
    place: Guest = request.getfixturevalue(kind)
    result = place.python(WINDOW)
    assert result.status == 0, result.output
    offered = json.loads((place.directory / "record.json").read_text())
    assert 0.98 * 200 * 1448 <= offered <= 1.06 * 200 * 1448
