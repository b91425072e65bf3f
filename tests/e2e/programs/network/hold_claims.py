"""Holds one link against what it is, and against two claims that it is not; reports what came out.

The false claims are 0.05 % faster, and lossy with 3 us less delay.
"""

from pathlib import Path

from tests.e2e.programs.facts import report
from topologies.emulation.network import EmulatedNetwork
from topologies.fidelity.virtual_bench import VirtualBench
from topologies.links.profiles import LinkProfile, parse_profile
from topologies.networks.shapes import chain


def main() -> None:
    true = profile("true", 8, 10)
    faster = profile("faster", 8.004, 10)
    lossy = profile("lossy", 8, 9.9985, 1)
    with EmulatedNetwork(chain(["user", "server"], true), Path("logs")) as net:
        honest, too_fast, too_lossy = (
            VirtualBench(net, each, Path("logs"), "virtual") for each in (true, faster, lossy)
        )
        rtt = honest.rtt()
        claims = {
            "rtt": rtt,
            "rate": honest.rate("down"),
            "queue": honest.queue("up", rtt),
            "loss": honest.losses()[0],
            "false rate": too_fast.rate("down"),
            "false rtt": too_lossy.rtt(),
            "false loss": too_lossy.losses()[0],
        }
    report(**{name: claim.model_dump() for name, claim in claims.items()})


def profile(name: str, rate_mbit: float, delay_ms: float, loss_percent: float = 0) -> LinkProfile:
    way = {"rate_mbit": rate_mbit, "delay_ms": delay_ms, "loss_percent": loss_percent}
    return parse_profile(name, {"down": way, "up": way, "source": "test", "latency": "one-way"})


if __name__ == "__main__":
    main()
