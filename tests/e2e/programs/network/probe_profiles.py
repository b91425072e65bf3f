"""Probes a chain of all shipped profiles and floods its first link; reports the fidelity.

``profiles``: the profile of each link by its name; ``capture_list``: the captures' counters;
``flood``: what ping said of it.
"""

from pathlib import Path

from tests.e2e.programs.facts import report
from topologies.emulation.capture import Captures
from topologies.emulation.network import EmulatedNetwork
from topologies.fidelity.probe import probe_network
from topologies.fidelity.verdict import judge
from topologies.links.profiles import catalogue
from topologies.networks.shapes import chain


def main() -> None:
    profiles = list(catalogue().values())
    hosts = [f"h{number}" for number in range(len(profiles) + 1)]
    with EmulatedNetwork(chain(hosts, profiles), Path("logs")) as net:
        probe = probe_network(net, "virtual")
        with Captures(net, Path("captures"), Path("logs")) as captures:
            flood = net["h0"].cmd(f"ping -q -c 300 -i 0.002 -s 1400 {net.data_ip('h1', 'h0')}")
            counters = captures.stop()
        fidelity = judge(probe, counters, net.qdisc_counters(), clock="virtual")
    report(
        **fidelity.record().content(),
        profiles={link.name: profile.name for link, profile in net.spec.shaped_links},
        capture_list=[each.model_dump() for each in counters],
        flood=flood,
    )


if __name__ == "__main__":
    main()
