"""``initial_window: path``, from the experiment file to the packets that the server sends: its own
window, its pace, and the window that the UE offers."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from scapy.layers.inet import TCP
from scapy.utils import PcapReader

from testbed.experiment import load_experiment
from testbed.rundir import RunDirectory
from testbed.runner import run_experiment

pytestmark = pytest.mark.microvm

RATE_MBIT, DELAY_MS = 12, 60
FLIGHT = 100  # the path holds 120; a receiver that opens no window of its own ends it at 44
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
    - {{ue: ue, steps: [{{all: true}}]}}
"""


def test_the_first_flight_fills_the_path_and_does_not_overrun_it(tmp_path: Path) -> None:
    file, out = tmp_path / "window.yaml", tmp_path / "out"
    file.write_text(EXPERIMENT)
    run_experiment(load_experiment(file), str(file), "microvm", out, Console(quiet=True))
    (capture,) = RunDirectory(out).captures.glob("server-eth*.pcap")
    with PcapReader(str(capture)) as reader:
        packets = [packet for packet in reader if TCP in packet]
    sent_s = [
        float(packet.time)
        for packet in packets
        if packet[TCP].sport < packet[TCP].dport and packet.wirelen == 1514
    ]
    times_ms = [1e3 * each for each in sent_s[:FLIGHT]]
    at_rate_ms = (FLIGHT - BURST) * FRAME_BITS / (RATE_MBIT * 1e3)
    assert times_ms[-1] - times_ms[0] < 2 * DELAY_MS  # before the first acknowledgement can come
    assert times_ms[-1] - times_ms[BURST - 1] > 0.85 * at_rate_ms

    (window,) = json.loads((out / "summary.json").read_text())["accordion"]["initial_windows"]
    asked = [packet[TCP] for packet in packets if packet[TCP].sport > packet[TCP].dport]
    (scale,) = (value for name, value in asked[0].options if name == "WScale")
    request = next(segment for segment in asked if segment.flags.P)
    told_bytes = window["receive_window_bytes"]
    assert told_bytes - (1 << scale) < request.window << scale <= told_bytes
