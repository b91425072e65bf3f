"""Networks in a microVM: quick to start, as specified, changed in place, gone afterwards."""

import json
from typing import Any

import pytest

from stage_node.records.line.transfer_time import serialisation_ms
from tests.e2e.conftest import Guest
from topologies.links.profiles import load_profile
from topologies.networks.spec import direction_of

pytestmark = pytest.mark.microvm

PREAMBLE = """
import json, os, re, socket, subprocess, sys, time
from pathlib import Path
from topologies.machine.namespaces import inside, run_inside
from topologies.emulation.network import EmulatedNetwork
from topologies.links.profiles import load_profile
from topologies.networks.shapes import chain, edge_cloud, star

here = Path.cwd()
lte, fibre = load_profile("lte"), load_profile("fibre")

def interfaces():
    return sorted(os.listdir("/sys/class/net"))

def shells():
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    return [line for line in listing.splitlines() if line.startswith("bash") and "mininet:" in line]

def report(**facts):
    (here / "facts.json").write_text(json.dumps(facts))
"""


def facts_of(guest: Guest, program: str) -> dict[str, Any]:
    """Run a program in a guest; what it reported."""
    result = guest.python(PREAMBLE + program)
    assert result.status == 0, result.output
    facts: dict[str, Any] = json.loads((guest.directory / "facts.json").read_text())
    return facts


def test_chains_start_and_stop_without_waiting_and_leave_nothing(virtual_guest: Guest) -> None:
    facts = facts_of(
        virtual_guest,
        """
before = interfaces()
waited_s, heard = {}, {}
for hosts in (4, 8, 64):
    names = [f"h{number}" for number in range(hosts)]
    began = time.monotonic()
    with EmulatedNetwork(chain(names, fibre), here / "logs") as net:
        during = interfaces()
        last = net.data_ip(names[-1], towards=names[0])
        asked = time.monotonic()
        heard[hosts] = net[names[0]].cmd(f"ping -c 2 -i 0.2 -q {last}")
        asked = time.monotonic() - asked
    waited_s[hosts] = time.monotonic() - began - asked
report(waited_s=waited_s, before=before, during=during, after=interfaces(), shells=shells(),
       heard=heard)
""",
    )
    assert max(facts["waited_s"].values()) < 0.2, facts  # of the guest's time: nobody just waits
    assert facts["before"] == facts["during"] == facts["after"]
    assert facts["shells"] == []
    assert all("2 received, 0% packet loss" in pings for pings in facts["heard"].values()), facts


def test_every_shape_connects_all_its_hosts_on_both_networks(virtual_guest: Guest) -> None:
    facts = facts_of(
        virtual_guest,
        """
shapes = {
    "chain": chain(["a", "b", "c"], [lte, fibre]),
    "star": star(["a", "b", "c"], fibre),
    "edge-cloud": edge_cloud(["ue1", "ue2"], access=lte, backhaul=fibre),
    "tclink": chain(["a", "b"], fibre, shaper="tclink"),
}
failed, asked, merged, described = [], [], [], {}
for name, spec in shapes.items():
    with EmulatedNetwork(spec, here / "logs") as net:
        described[name] = net.describe()
        for source in spec.hosts:
            for target in spec.hosts:
                if source != target:
                    for ip in (net.data_ip(target, towards=source), net.mgmt_ip(target)):
                        answer = net[source].cmd(f"ping -c 1 -W 2 -q {ip}")
                        if "1 received" not in answer:
                            failed.append([name, source, target, ip, answer])
            answer = net[source].cmd(f"ping -c 1 -W 2 -q {net.mgmt_ip('ctl')}")
            if "1 received" not in answer:
                failed.append([name, source, "ctl", answer])
        for node in (*spec.hosts, *spec.switches):
            for interface in net.interfaces(node):
                neighbours = run_inside(net.host_pid(node), "ip", "neigh", "show", "dev", interface)
                asked += [line for line in neighbours.splitlines() if "PERMANENT" not in line]
                features = run_inside(net.host_pid(node), "ethtool", "-k", interface)
                merged += re.findall(
                    r"^(?:tcp-segmentation|generic-segmentation|generic-receive|large-receive)"
                    r"-offload: on", features, re.M)
report(failed=failed, asked=asked, merged=merged, described=described)
""",
    )
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
    facts = facts_of(
        virtual_guest,
        """
PAYLOAD = 1500 - 20 - 8

def burst(net, count):
    with inside(net.host_pid("a")):
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with inside(net.host_pid("b")):
        into = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    into.bind((net.data_ip("b"), 0))
    into.settimeout(3)
    for _ in range(count):
        out.sendto(bytes(PAYLOAD), into.getsockname())
    def received():
        total = 0
        try:
            while total < count and into.recv(2048):
                total += 1
        except TimeoutError:
            pass
        return total
    return received

slow = load_profile("3g")  # 0.5 Mbit/s, 400 ms: 25 000 bytes of buffer
with EmulatedNetwork(chain(["a", "b"], slow), here / "logs") as net:
    overflow = [burst(net, 40)() for _ in range(3)]
    dropped = [each.dropped_packets for each in net.qdisc_counters()]
    net.wait_idle()
    at_rest = [[each.sent_packets for each in net.qdisc_counters()]]
    time.sleep(1)
    at_rest.append([each.sent_packets for each in net.qdisc_counters()])
    nobody_waits = burst(net, 5)
    net.wait_idle()
    at_rest.append([each.sent_packets for each in net.qdisc_counters()])
    collect = burst(net, 10)
    net.apply("a-b", "a_to_b", fibre)
    kept = collect()
    after_s, kept_after = [], []
    for _ in range(3):
        began = time.monotonic()
        kept_after.append(burst(net, 10)())
        after_s.append(time.monotonic() - began)
    again = [each.dropped_packets for each in net.qdisc_counters()]
report(overflow=overflow, dropped=dropped, kept=kept, after_s=after_s, again=again,
       at_rest=at_rest, kept_after=kept_after)
""",
    )
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
    facts = facts_of(
        virtual_guest,
        """
child = '''
import sys, time
from pathlib import Path
from topologies.emulation.capture import Captures
from topologies.emulation.network import EmulatedNetwork
from topologies.links.profiles import load_profile
from topologies.networks.shapes import chain
here = Path.cwd()
net = EmulatedNetwork(chain(["a", "b"], load_profile("lte")), here / "logs")
net.start()
Captures(net, here / "captures", here / "logs").start()
print("ready", flush=True)
time.sleep(60)
'''

def namespaces():
    links = set()
    for process in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            links.add(os.readlink(process))
        except OSError:
            pass
    return len(links)

def captures():
    listing = subprocess.run(["ps", "-eo", "comm"], capture_output=True, text=True).stdout
    return listing.split().count("tcpdump")

before = namespaces()
runner = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE)
assert runner.stdout.readline() == b"ready\\n"
during = [namespaces(), captures(), len(shells())]
runner.kill()
runner.wait()
deadline = time.monotonic() + 5
while (namespaces() > before or captures()) and time.monotonic() < deadline:
    time.sleep(0.05)
report(before=before, during=during, after=[namespaces(), captures(), len(shells())])
""",
    )
    namespaces, captures, shells = facts["during"]
    assert namespaces == facts["before"] + 4  # a, b, ctl and wires
    assert (captures, shells) == (2, 4)
    assert facts["after"] == [facts["before"], 0, 0]
