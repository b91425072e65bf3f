"""Receives a stream with a buffer made for sys.argv[1] bytes; reports the window that it offers."""

import socket
import statistics
import struct
import sys
import threading
from pathlib import Path

from tests.e2e.programs.facts import report
from topologies.emulation.network import EmulatedNetwork
from topologies.emulation.sysctls import write_sysctls
from topologies.fidelity.probes.link_ends import vantages
from topologies.links.profiles import load_profile
from topologies.networks.receive_buffer import receive_buffer_bytes
from topologies.networks.shapes import chain

TCP_REPAIR, TCP_REPAIR_WINDOW, SILENTLY = 19, 29, -1
STREAM_BYTES = 4_000_000


def main() -> None:
    room = receive_buffer_bytes(int(sys.argv[1]))
    with EmulatedNetwork(chain(["a", "b"], load_profile("ethernet-lan")), Path("logs")) as net:
        (link,) = net.spec.links
        sender, receiver = vantages(net, link, "a_to_b")
        write_sysctls(receiver.pid, {"ipv4/tcp_rmem": f"4096 {room} {room}"})
        with (
            receiver.socket(socket.SOCK_STREAM) as listener,
            sender.socket(socket.SOCK_STREAM) as out,
        ):
            listener.bind((receiver.ip, 0))
            listener.listen(1)
            out.connect(listener.getsockname())
            into, _ = listener.accept()
            threading.Thread(target=out.sendall, args=(bytes(STREAM_BYTES),), daemon=True).start()
            left, offered = STREAM_BYTES, []
            while left > 0:
                left -= len(into.recv(65536))
                offered.append(window_bytes(into))
    report(window_bytes=statistics.median(offered))


def window_bytes(connection: socket.socket) -> int:
    """What the kernel offers the other end at this moment."""
    connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    state = connection.getsockopt(socket.IPPROTO_TCP, TCP_REPAIR_WINDOW, 20)
    connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, SILENTLY)
    offered: int = struct.unpack("5I", state)[3]
    return offered


if __name__ == "__main__":
    main()
