"""The records of the simulated run: its network, and what would have been said of it."""

from collections.abc import Mapping

from stage_node.records.fidelity import QdiscCounters
from stage_node.records.machine import ClockPair, MachineFacts
from stage_node.records.manifest import CodeVersion, ManifestRecord
from stage_node.records.network import NetworkRecord
from stage_node.records.vocabulary import Direction
from tests.analysis.networks import host, link
from tests.analysis.tcp.tcp_simulator import HEADERS, MSS, Tap
from topologies.fidelity.verdict import Fidelity, GoodputProbe, Probe, RttProbe
from topologies.machine.cpu import IdleSample
from topologies.machine.pauses import Paused

RATES_MBIT = (10.0, 20.0)
DELAYS_MS = (5.0, 2.0)
SECOND_NS = 10**9

EXPERIMENT = """\
name: synthetic
seed: 1
pipeline:
  targets: {min_accuracy: null, max_accuracy_loss_points: 1.5}
"""

NETWORK = NetworkRecord(
    hosts={
        "ue1": host(("ue1-eth0", "10.0.0.1")),
        "edge": host(("edge-eth0", "10.0.0.2"), ("edge-eth1", "10.0.1.1"), mgmt_ip="192.168.0.2"),
        "cloud": host(("cloud-eth0", "10.0.1.2"), mgmt_ip="192.168.0.3"),
    },
    links=(
        link(
            "ue1-edge",
            ("ue1", "ue1-eth0", "10.0.0.1"),
            ("edge", "edge-eth0", "10.0.0.2"),
            RATES_MBIT[0],
            DELAYS_MS[0],
        ),
        link(
            "edge-cloud",
            ("edge", "edge-eth1", "10.0.1.1"),
            ("cloud", "cloud-eth0", "10.0.1.2"),
            RATES_MBIT[1],
            DELAYS_MS[1],
        ),
    ),
    shaper="netem",
)
LINK_OF = {end.interface: link.name for link in NETWORK.links for end in (link.a, link.b)}


def probed_rtt_ms(index: int) -> float:
    """What an echo in the smallest Ethernet frame takes on an idle link."""
    return 2 * (DELAYS_MS[index] + 60 * 8e-3 / RATES_MBIT[index])


def manifest(clock: tuple[ClockPair, ...]) -> ManifestRecord:
    """What a run that went to its end says of its making."""
    machine = MachineFacts(
        kernel="6.1.0", machine="x86_64", cpu_model="Some CPU", cpus=2, memory_mib=4096
    )
    return ManifestRecord(
        name="synthetic",
        seed=1,
        host="microvm",
        started="2026-11-21T18:00:00+0000",
        command=("run", "synthetic.yaml"),
        code=CodeVersion(git_commit="0" * 40, git_dirty=False),
        outer_machine=machine,
        machine=machine,
        clock=clock,
    )


def fidelity(taps: Mapping[str, Tap]) -> Fidelity:
    """A network that is what it claims, and queues that counted what the receivers' taps saw."""
    goodputs, rtts, qdiscs = [], [], []
    ways: tuple[tuple[Direction, Direction], ...] = (("a_to_b", "b_to_a"), ("b_to_a", "a_to_b"))
    for index, one in enumerate(NETWORK.links):
        goodput = RATES_MBIT[index] * MSS / (MSS + HEADERS)
        rtts.append(
            RttProbe(
                link=one.name,
                rounds=1,
                sent=20,
                received=20,
                rtt_min_ms=probed_rtt_ms(index),
                expected_ms=2 * DELAYS_MS[index] + 0.1,
                tolerance_ms=0.6,
            )
        )
        for direction, back in ways:
            goodputs.append(
                GoodputProbe(
                    link=one.name,
                    direction=direction,
                    ideal_goodput_mbit=goodput,
                    goodput_mbit=goodput,
                    tolerance_share=0.01,
                    attempt_errors=(-0.02,) * index + (0.0,),
                )
            )
            receiver, _ = one.ends(back)
            sizes = _received_sizes(taps[receiver.interface], str(receiver.ip))
            qdiscs.append(
                QdiscCounters(
                    link=one.name,
                    direction=direction,
                    sent_packets=len(sizes),
                    sent_bytes=sum(sizes),
                    dropped_packets=0,
                    lost_packets=0,
                )
            )
    return Fidelity(
        verdict="pass",
        reasons=(),
        probe=Probe(goodput=tuple(goodputs), rtt=tuple(rtts), loss=()),
        captures=(),
        qdiscs=tuple(qdiscs),
        idle=tuple(IdleSample(0, SECOND_NS, share) for share in (0.6, 0.9, 0.9)),
        paused=Paused(windows_ms=9000, paused_ms=45, longest_ms=7.5),
    )


def _received_sizes(tap: Tap, ip: str) -> list[int]:
    target = bytes(int(part) for part in ip.split("."))
    return [len(packet) for _, packet in tap.packets if packet[30:34] == target]
