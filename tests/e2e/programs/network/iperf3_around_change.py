"""Has iperf3 measure a link before and after it is changed in place; reports Mbit/s and drops."""

from pathlib import Path

from tests.e2e.programs.facts import report
from topologies.emulation.network import EmulatedNetwork
from topologies.emulation.sysctls import write_sysctls
from topologies.fidelity.probes.independent_tools import iperf3
from topologies.fidelity.probes.link_ends import vantages
from topologies.links.profiles import load_profile
from topologies.networks.receive_buffer import receive_buffer_bytes
from topologies.networks.shapes import chain

ARGUMENTS = ("-t", "4", "-O", "3", "-C", "reno", "-l", "64K")
LIMIT_S = 100


def main() -> None:
    lte, slower = load_profile("lte"), load_profile("4g")
    with EmulatedNetwork(chain(["a", "b"], lte), Path("logs")) as net:
        measured = {"lte": mbit(net, "lte", 150_000)}
        net.apply("a-b", "a_to_b", slower)
        net.apply("a-b", "b_to_a", slower)
        measured["4g"] = mbit(net, "4g", 280_000)
        dropped = [each.dropped_packets for each in net.qdisc_counters()]
    report(measured=measured, dropped=dropped)


def mbit(net: EmulatedNetwork, name: str, window_bytes: int) -> float:
    """What iperf3 measures from a to b, with a window that the buffer has room for."""
    (link,) = net.spec.links
    sender, receiver = vantages(net, link, "a_to_b")
    room = receive_buffer_bytes(window_bytes)
    write_sysctls(receiver.pid, {"ipv4/tcp_rmem": f"4096 {room} {room}"})
    return iperf3(sender, receiver, ARGUMENTS, LIMIT_S, Path(f"iperf3-{name}.json")).mbit


if __name__ == "__main__":
    main()
