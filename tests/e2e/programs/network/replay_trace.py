"""Plays a generated trace while iperf3 fills the link; reports when, what and what was counted.

Arguments: the trace's seed, its length in seconds, and the seconds before it begins.
"""

import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.e2e.programs.facts import report
from topologies.emulation.capture import Captures
from topologies.emulation.changer import Applied, Changer
from topologies.emulation.network import EmulatedNetwork
from topologies.emulation.qdiscs import since
from topologies.emulation.replay import Replay
from topologies.links.generators import generate
from topologies.links.profiles import LinkProfile, load_profile
from topologies.machine.namespaces import run_inside, spawn_inside
from topologies.networks.shapes import chain


def main() -> None:
    seed, seconds, lead_s = int(sys.argv[1]), *map(float, sys.argv[2:])
    applied: list[Applied] = []
    with EmulatedNetwork(chain(["a", "b"], traced_lte(seed, seconds)), Path("logs")) as net:
        before = net.qdisc_counters()
        with Path("iperf3.log").open("wb") as out:
            spawn_inside(net.host_pid("b"), ["iperf3", "-s", "-1"], out, out)
        time.sleep(1)
        with Captures(net, Path("captures"), Path("logs")) as captures:
            clock = time.time_ns() - time.monotonic_ns()
            origin = time.monotonic_ns() + int(lead_s * 1e9)
            with Changer(net, applied.append) as changer, Replay(changer, lambda: origin):
                flood(net, int(seconds + lead_s + 1))
            net.wait_idle()
            counters = captures.stop()
        counted = since(before, net.qdisc_counters())
    report(
        origin=origin + clock,
        applied=[asdict(each) for each in applied],
        lost=[each.received_by_filter - each.captured for each in counters],
        qdisc=[each.model_dump() for each in counted],
    )


def traced_lte(seed: int, seconds: float) -> LinkProfile:
    """LTE, upwards along a trace."""
    lte = load_profile("lte")
    trace = generate("lte", seed, seconds, lte.up.rate_mbit)
    return lte.model_copy(update={"up": lte.up.model_copy(update={"trace": trace})})


def flood(net: EmulatedNetwork, seconds: int) -> None:
    """Full frames from a to b, more than the link carries."""
    run_inside(
        net.host_pid("a"),
        *("iperf3", "-u", "-b", "13M", "-l", "1472", "-t", str(seconds)),
        *("-c", net.data_ip("b")),
    )


if __name__ == "__main__":
    main()
