"""Records the corpus of captures anew: ``python -m tests.analysis.corpus.record DIRECTORY``.

Real TCP over links that the testbed shapes, in a microVM, captured as every run is. Each scenario
is a transfer over one link. What needs another file format is merged from real captures by
mergecap(1); damage is real where tcpdump was killed, and added where a disk would lose a sector.
Afterwards :mod:`tests.analysis.corpus.answers` asks tshark about each.
"""

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from testbed.hosts.microvm import MicroVm
from topologies.emulation.capture import Captures
from topologies.emulation.network import WIRES_NAME, EmulatedNetwork
from topologies.links.profiles import DirectionProfile, LinkProfile
from topologies.machine.namespaces import inside, run_inside
from topologies.networks.shapes import chain

PORT = 5001
ASK_BYTES, ANSWER_BYTES = 20_000, 100
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_SEND_QUEUE = 19, 20, 21, 2  # linux/tcp.h


@dataclass(frozen=True)
class Scenario:
    """A transfer: ``rounds`` times so many bytes one way, a short answer the other."""

    name: str
    rounds: int
    loss_percent: float = 0.0
    netem: str = ""
    """Further words for netem, in the direction of the data."""
    initial_sequence: int | None = None
    receive_buffer: int | None = None
    pause_s: float = 0.0
    """The receiver reads nothing for so long after the connection is made."""
    kill_after_s: float | None = None
    """tcpdump is killed in the middle, which truncates its file."""


SCENARIOS = (
    Scenario("loss", rounds=12, loss_percent=3),
    Scenario("reorder", rounds=10, netem="reorder 5%"),
    Scenario("wrap", rounds=8, loss_percent=2, initial_sequence=2**32 - 60_000),
    Scenario("zero-window", rounds=4, receive_buffer=16_384, pause_s=1.5),
    Scenario("killed", rounds=40, kill_after_s=2.0),
)


def record(scenario: Scenario, directory: Path) -> None:
    """Play a scenario; leaves ``<name>-sender.pcap`` and ``<name>-receiver.pcap``."""
    way = DirectionProfile(rate_mbit=8, delay_ms=15, loss_percent=scenario.loss_percent)
    profile = LinkProfile(name="corpus", source="made up", latency="one-way", down=way, up=way)
    with (
        tempfile.TemporaryDirectory() as logs,
        EmulatedNetwork(chain(["a", "b"], profile), Path(logs)) as net,
    ):
        if scenario.netem:
            (link,) = (link.name for link, _ in net.spec.shaped_links)
            (line,) = (x for x in net.change_lines(link, "a_to_b", profile) if "netem" in x)
            run_inside(net.host_pid(WIRES_NAME), "tc", *line.split(), *scenario.netem.split())
        with Captures(net, Path(logs), Path(logs)) as captures, _server(net, scenario):
            transfer = threading.Thread(target=_transfer, args=(net, scenario))
            transfer.start()
            transfer.join(scenario.kill_after_s)
            if scenario.kill_after_s is None:
                net.wait_idle()
                captures.stop()
            else:
                captures.kill()
            transfer.join()
        for host, end in (("a", "sender"), ("b", "receiver")):
            shutil.copy(Path(logs) / f"{host}-eth0.pcap", directory / f"{scenario.name}-{end}.pcap")


@contextlib.contextmanager
def _server(net: EmulatedNetwork, scenario: Scenario) -> Iterator[None]:
    with inside(net.host_pid("b")):
        listener = socket.create_server(("", PORT))
    if scenario.receive_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, scenario.receive_buffer)
    server = threading.Thread(target=_serve, args=(listener, scenario))
    server.start()
    with listener:
        yield
        server.join()


def _serve(listener: socket.socket, scenario: Scenario) -> None:
    connection, _ = listener.accept()
    with connection:
        time.sleep(scenario.pause_s)
        for _ in range(scenario.rounds):
            _read(connection, ASK_BYTES)
            connection.sendall(bytes(ANSWER_BYTES))
        connection.recv(1)


def _transfer(net: EmulatedNetwork, scenario: Scenario) -> None:
    with inside(net.host_pid("a")):
        client = socket.socket()
    with client:
        if scenario.initial_sequence is not None:
            # tcp_v4_connect() keeps a sequence number that is there already.
            client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
            client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE)
            number = scenario.initial_sequence - 2**32
            client.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, number)
            client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 0)
        client.connect((net.data_ip("b"), PORT))
        for _ in range(scenario.rounds):
            client.sendall(bytes(ASK_BYTES))
            if not scenario.pause_s:
                _read(client, ANSWER_BYTES)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65_536):
            pass


def _read(connection: socket.socket, size: int) -> None:
    while size:
        size -= len(connection.recv(size))


def derive(recorded: Path, corpus: Path) -> None:
    """From what was recorded, the corpus."""
    for name in ("loss", "reorder", "wrap"):
        for end in ("sender", "receiver"):
            shutil.copy(recorded / f"{name}-{end}.pcap", corpus)
    shutil.copy(recorded / "killed-sender.pcap", corpus / "truncated.pcap")
    both_ends = sorted(str(path) for path in recorded.glob("zero-window-*.pcap"))
    merge = ["mergecap", "-F", "pcapng", "-I", "none", "-w", str(corpus / "zero-window.pcapng")]
    subprocess.run([*merge, *both_ends], check=True)
    damaged = bytearray((corpus / "loss-sender.pcap").read_bytes())
    damaged[16_384 : 16_384 + 512] = bytes(512)
    (corpus / "damaged.pcap").write_bytes(damaged)


def main() -> None:
    """Without ``--inside``: boot a microVM that runs this again."""
    if sys.argv[1] == "--inside":
        for scenario in SCENARIOS:
            record(scenario, Path(sys.argv[2]))
        return
    command = [sys.executable, "-m", "tests.analysis.corpus.record", "--inside"]
    with tempfile.TemporaryDirectory() as recorded:
        status = MicroVm().run([*command, recorded], writable=Path(recorded))
        if status == 0:
            derive(Path(recorded), Path(sys.argv[1]))
    sys.exit(status)


if __name__ == "__main__":
    main()
