"""``initial_window: path``, from the experiment file to the packets that the server sends: its own
window, its pace, and the window that the UE offers."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from scapy.layers.inet import TCP
from scapy.packet import Packet
from scapy.utils import PcapReader

from stage_node.records.run_directory import RunDirectory
from testbed.hosts.choose import HostWish
from testbed.planning.checked import checked_file
from testbed.run.runner import run_experiment

pytestmark = [pytest.mark.microvm, pytest.mark.usefixtures("kernel")]

RATE_MBIT, DELAY_MS = 12, 60
DOWNLOADS = 5
FLIGHT = 100  # frames; the path holds 120
UNOPENED = 44  # where a receiver that opens no window of its own ends a flight
BURST = 10  # which Linux sends before it begins to pace (tcp_update_skb_after_send)
FRAME_BITS = 1514 * 8
EXPERIMENT = f"""
name: window
network:
  shape: chain
  hosts: [ue, server]
  links: {{rate_mbit: {RATE_MBIT}, delay_ms: {DELAY_MS}}}
accordion:
  model: digits-resnet20-coml
  server: server
  initial_window: path
  measured_images: 20
  downloads:
    - {{ue: ue, repeat: {DOWNLOADS}, steps: [{{all: true}}]}}
"""


def test_the_first_flight_fills_the_path_and_does_not_overrun_it(tmp_path: Path) -> None:
    file, out = tmp_path / "window.yaml", tmp_path / "out"
    file.write_text(EXPERIMENT)
    wish = HostWish("microvm", "virtual")
    run_experiment(checked_file(file), wish, out, Console(quiet=True))
    connections = connections_at_the_server(out)
    assert len(connections) == DOWNLOADS
    flights = [frames_before_the_first_acknowledgement(packets) for packets in connections]
    assert len(set(flights)) == 1 and flights[0] >= FLIGHT > UNOPENED, flights
    at_rate_ms = (FLIGHT - BURST) * FRAME_BITS / (RATE_MBIT * 1e3)
    for sent_ms in map(full_frames_ms, connections):
        assert sent_ms[FLIGHT - 1] - sent_ms[BURST - 1] > 0.85 * at_rate_ms

    (window,) = json.loads((out / "summary.json").read_text())["accordion"]["initial_windows"]
    offered_bytes, step_bytes = zip(*map(window_of_the_request, connections), strict=True)
    told_bytes = window["receive_window_bytes"]  # the least of all requests
    assert told_bytes - max(step_bytes) < min(offered_bytes) <= told_bytes


def connections_at_the_server(out: Path) -> list[list[Packet]]:
    """The packets of each of the UE's connections, as they pass the server's interface."""
    (capture,) = RunDirectory(out).captures.glob("server-eth*.pcap")
    connections: dict[int, list[Packet]] = {}
    with PcapReader(str(capture)) as reader:
        for packet in reader:
            if TCP in packet:
                ue_port = max(packet[TCP].sport, packet[TCP].dport)
                connections.setdefault(ue_port, []).append(packet)
    return list(connections.values())


def full_frames_ms(packets: list[Packet]) -> list[float]:
    """When the server sent each of its full frames."""
    return [1e3 * float(p.time) for p in packets if from_server(p) and p.wirelen == 1514]


def frames_before_the_first_acknowledgement(packets: list[Packet]) -> int:
    """How many full frames the server sent before it knew that any had come."""
    begun = next(
        packet[TCP].seq for packet in packets if from_server(packet) and packet.wirelen == 1514
    )
    acknowledged = next(p for p in packets if not from_server(p) and p[TCP].ack > begun)
    return sum(sent < 1e3 * float(acknowledged.time) for sent in full_frames_ms(packets))


def from_server(packet: Packet) -> bool:
    """Its port is the smaller one."""
    return bool(packet[TCP].sport < packet[TCP].dport)


def window_of_the_request(packets: list[Packet]) -> tuple[int, int]:
    """Bytes that the UE's request offers to take, and the step in which it can say so."""
    asked = [packet[TCP] for packet in packets if not from_server(packet)]
    (scale,) = (value for name, value in asked[0].options if name == "WScale")
    request = next(segment for segment in asked if segment.flags.P)
    return request.window << scale, 1 << scale
