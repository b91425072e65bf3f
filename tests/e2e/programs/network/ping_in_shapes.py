"""Has every host of networks of every shape ping all others; reports what was not as it should.

``failed``: pings without an answer; ``asked``: addresses that had to be resolved; ``merged``:
interfaces that send or take packets put together; ``described``: each network's own description.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.programs.facts import report
from topologies.emulation.network import EmulatedNetwork
from topologies.links.profiles import load_profile
from topologies.machine.namespaces import run_inside
from topologies.networks.shapes import chain, edge_cloud, star

OFFLOADS = re.compile(
    r"^(?:tcp-segmentation|generic-segmentation|generic-receive|large-receive)-offload: on",
    re.MULTILINE,
)


def main() -> None:
    lte, fibre = load_profile("lte"), load_profile("fibre")
    shapes = {
        "chain": chain(["a", "b", "c"], [lte, fibre]),
        "star": star(["a", "b", "c"], fibre),
        "edge-cloud": edge_cloud(["ue1", "ue2"], access=lte, backhaul=fibre),
        "tclink": chain(["a", "b"], fibre, shaper="tclink"),
    }
    failed: list[list[str]] = []
    asked: list[str] = []
    merged: list[str] = []
    described = {}
    for name, spec in shapes.items():
        with EmulatedNetwork(spec, Path("logs")) as net:
            described[name] = net.describe().content()
            failed += ([name, *failure] for failure in failed_pings(net))
            for node in (*spec.hosts, *spec.switches):
                for interface in net.interfaces(node):
                    pid = net.host_pid(node)
                    neighbours = run_inside(pid, "ip", "neigh", "show", "dev", interface)
                    asked += [line for line in neighbours.splitlines() if "PERMANENT" not in line]
                    merged += OFFLOADS.findall(run_inside(pid, "ethtool", "-k", interface))
    report(failed=failed, asked=asked, merged=merged, described=described)


def failed_pings(net: EmulatedNetwork) -> Iterator[tuple[str, str, str]]:
    """Source, address and what ping said, for each host, on both networks, and the controller."""
    for source in net.spec.hosts:
        addresses = [net.mgmt_ip("ctl")]
        for target in net.spec.hosts:
            if source != target:
                addresses += [net.data_ip(target, towards=source), net.mgmt_ip(target)]
        for address in addresses:
            answer = net[source].cmd(f"ping -c 1 -W 2 -q {address}")
            if "1 received" not in answer:
                yield source, address, answer


if __name__ == "__main__":
    main()
