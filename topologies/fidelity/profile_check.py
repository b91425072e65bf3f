"""Holds one profile against independent tools, for :mod:`topologies.fidelity.claims` to judge.

How, depends on the clock: :mod:`topologies.fidelity.bench`,
:mod:`topologies.fidelity.virtual_bench`.
"""

import time
from collections.abc import Callable
from pathlib import Path

from stage_node.records.vocabulary import ClockKind
from topologies.emulation.network import EmulatedNetwork
from topologies.fidelity.bench import WAYS, Bench
from topologies.fidelity.claims import ProfileFidelity
from topologies.fidelity.virtual_bench import VirtualBench
from topologies.links.profiles import LinkProfile
from topologies.networks.shapes import chain

BENCHES: dict[ClockKind, type[Bench]] = {"real": Bench, "virtual": VirtualBench}

Say = Callable[[str], None]


def examine(profile: LinkProfile, logs: Path, say: Say, clock: ClockKind) -> ProfileFidelity:
    """Build two hosts and the link, measure every claim, take it down; ``say`` receives each step.

    Needs root, iperf3 and ping; raises ``EmulationError`` where a tool or the kernel refuses. The
    tools' own answers stay in ``logs``.
    """
    begin = time.monotonic()
    with EmulatedNetwork(chain(["user", "server"], profile), logs) as net:
        bench = BENCHES[clock](net, profile, logs, clock)
        say("round trip")
        rtt = bench.rtt()
        say("loss")
        losses = bench.losses()
        rates, queues = [], []
        for way in WAYS:
            say(f"rate {way}")
            rates.append(bench.rate(way))
            say(f"queue {way}")
            queues.append(bench.queue(way, rtt, rates[-1].carried_mbit))
    return ProfileFidelity(
        profile=profile,
        rates=tuple(rates),
        rtt=rtt,
        losses=losses,
        queues=tuple(queues),
        duration_s=time.monotonic() - begin,
    )
