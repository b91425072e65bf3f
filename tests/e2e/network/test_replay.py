"""A link follows its trace while a flow that always has more to send fills it, in a microVM."""

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
    record = guest.facts("network/replay_trace.py", *map(str, (SEED, SECONDS, LEAD_S)))
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
