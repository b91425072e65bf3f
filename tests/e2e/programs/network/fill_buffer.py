"""Sends bursts over a link with room for few frames, and changes the link; reports what arrived."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.programs.facts import report
from topologies.emulation.network import EmulatedNetwork
from topologies.links.profiles import load_profile
from topologies.machine.namespaces import inside
from topologies.networks.shapes import chain

PAYLOAD_BYTES = 1500 - 20 - 8
PATIENCE_S = 3


def main() -> None:
    slow = load_profile("3g")  # 0.5 Mbit/s, 400 ms: 25 000 bytes of buffer
    with EmulatedNetwork(chain(["a", "b"], slow), Path("logs")) as net:
        overflow = [burst(net, 40)() for _ in range(3)]
        dropped = [each.dropped_packets for each in net.qdisc_counters()]
        net.wait_idle()
        at_rest = [sent_packets(net)]
        time.sleep(1)
        at_rest.append(sent_packets(net))
        _unheard = burst(net, 5)  # held: its sockets stay open, so nothing answers that none is
        net.wait_idle()
        at_rest.append(sent_packets(net))
        received = burst(net, 10)
        net.apply("a-b", "a_to_b", load_profile("fibre"))
        kept = received()
        after_s, kept_after = [], []
        for _ in range(3):
            began = time.monotonic()
            kept_after.append(burst(net, 10)())
            after_s.append(time.monotonic() - began)
        again = [each.dropped_packets for each in net.qdisc_counters()]
    report(
        overflow=overflow,
        dropped=dropped,
        at_rest=at_rest,
        kept=kept,
        kept_after=kept_after,
        after_s=after_s,
        again=again,
    )


def burst(net: EmulatedNetwork, count: int) -> Callable[[], int]:
    """Send datagrams from a to b at once; what it returns waits for them and counts them."""
    with inside(net.host_pid("a")):
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with inside(net.host_pid("b")):
        into = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    into.bind((net.data_ip("b"), 0))
    into.settimeout(PATIENCE_S)
    for _ in range(count):
        out.sendto(bytes(PAYLOAD_BYTES), into.getsockname())

    def received() -> int:
        total = 0
        try:
            while total < count and into.recv(2048):
                total += 1
        except TimeoutError:
            pass
        return total

    return received


def sent_packets(net: EmulatedNetwork) -> list[int]:
    return [each.sent_packets for each in net.qdisc_counters()]


if __name__ == "__main__":
    main()
