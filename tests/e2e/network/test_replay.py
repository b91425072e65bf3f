"""A link follows its trace while a flow that always has more to send fills it, in a microVM."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from analysis.capture.reader import read_capture
from tests.e2e.conftest import Guest
from topologies.links.generators import generate
from topologies.links.profiles import load_profile

pytestmark = pytest.mark.microvm

SEED, SECONDS, BIN_MS, LEAD_S = 3, 10, 100, 1.0
TRACE = generate("lte", SEED, SECONDS, load_profile("lte").up.rate_mbit)
PROGRAM = """
import json, sys, time
from dataclasses import asdict
from pathlib import Path
from topologies.emulation.capture import Captures
from topologies.emulation.changer import Changer
from topologies.links.generators import generate
from topologies.machine.namespaces import run_inside, spawn_inside
from topologies.emulation.network import EmulatedNetwork
from topologies.links.profiles import load_profile
from topologies.emulation.qdiscs import since
from topologies.emulation.replay import Replay
from topologies.networks.shapes import chain

here, seed, seconds, lead_s = Path.cwd(), *map(float, sys.argv[1:])
lte = load_profile("lte")
trace = generate("lte", int(seed), seconds, lte.up.rate_mbit)
lte = lte.model_copy(update={"up": lte.up.model_copy(update={"trace": trace})})
applied = []
with EmulatedNetwork(chain(["a", "b"], lte), here / "logs") as net:
    before = net.qdisc_counters()
    with (here / "iperf3.log").open("wb") as out:
        spawn_inside(net.host_pid("b"), ["iperf3", "-s", "-1"], out, out)
    time.sleep(1)
    with Captures(net, here / "captures", here / "logs") as captures:
        clock = time.time_ns() - time.monotonic_ns()
        origin = time.monotonic_ns() + int(lead_s * 1e9)
        with Changer(net, applied.append) as changer, Replay(changer, lambda: origin):
            run_inside(
                net.host_pid("a"),
                *("iperf3", "-u", "-b", "13M", "-l", "1472", "-t", str(int(seconds + lead_s + 1))),
                *("-c", net.data_ip("b")),
            )
        net.wait_idle()
        counters = captures.stop()
    counted = since(before, net.qdisc_counters())
record = {
    "origin": origin + clock,
    "applied": [asdict(each) for each in applied],
    "lost": [each.received_by_filter - each.captured for each in counters],
    "qdisc": [each.model_dump() for each in counted],
}
(here / "record.json").write_text(json.dumps(record))
"""


@dataclass(frozen=True)
class Played:
    """What came of playing the trace once."""

    correlation: float
    total: float  # delivered over asked
    changes: int
    late_ms: float  # median
    latest_ms: float
    refused: int  # frames that the buffer had no room for
    vanished: int  # frames that nothing accounts for


def play(guest: Guest) -> Played:
    result = guest.python(PROGRAM, *map(str, (SEED, SECONDS, LEAD_S)))
    assert result.status == 0, result.output
    record = json.loads((guest.directory / "record.json").read_text())
    asked = np.array([step.rate_mbit * BIN_MS * 125 for step in TRACE.steps])
    # iperf3's datagrams of 1472 bytes; the delay comes before the line, so bins need no shift.
    captures = [read_capture(guest.directory / f"captures/{end}-eth0.pcap").packets for end in "ab"]
    missing = captures[0].height - captures[1].height  # nothing is lost the other way
    received = captures[1].filter(captures[1]["wirelen"] == 1514)
    t_ms = (received["t_ns"].to_numpy() - record["origin"]) / 1e6
    edges = np.arange(0, SECONDS * 1000 + 1, BIN_MS)
    delivered = np.histogram(t_ms, edges)[0] * 1514
    late_ms = [each["late_ms"] for each in record["applied"]]
    (up,) = (each for each in record["qdisc"] if each["direction"] == "a_to_b")
    return Played(
        correlation=float(np.corrcoef(delivered, asked)[0, 1]),
        total=float(delivered.sum() / asked.sum()),
        changes=len(late_ms),
        late_ms=float(np.median(late_ms)),
        latest_ms=max(late_ms),
        refused=up["dropped_packets"],
        vanished=missing - up["dropped_packets"] + up["lost_packets"] + sum(record["lost"]),
    )


def test_delivered_bytes_follow_the_trace_and_no_change_loses_a_frame(
    virtual_guest: Guest,
) -> None:
    played = play(virtual_guest)
    assert played.vanished == 0
    assert played.refused > 0, "the line was never full"
    assert played.changes >= len(TRACE.steps)
    assert played.latest_ms < 1
    assert played.correlation >= 0.999
    assert abs(played.total - 1) <= 0.001
