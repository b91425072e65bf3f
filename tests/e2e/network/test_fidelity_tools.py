"""tcpdump and ping know a link that is what it claims from one that is not, in a microVM."""

import json

import pytest

from tests.e2e.conftest import Guest

pytestmark = pytest.mark.microvm

# One link, held against what it is and against two claims that it is not: 0.05 % faster, and lossy
# with 3 us less delay.
PROGRAM = """
import json
from pathlib import Path
from topologies.emulation.network import EmulatedNetwork
from topologies.links.profiles import parse_profile
from topologies.networks.shapes import chain
from topologies.fidelity.virtual_bench import VirtualBench

def profile(name, rate_mbit, delay_ms, loss_percent=0):
    way = {"rate_mbit": rate_mbit, "delay_ms": delay_ms, "loss_percent": loss_percent}
    return parse_profile(name, {"down": way, "up": way, "source": "test", "latency": "one-way"})

true = profile("true", 8, 10)
faster = profile("faster", 8.004, 10)
lossy = profile("lossy", 8, 9.9985, 1)
with EmulatedNetwork(chain(["user", "server"], true), Path("logs")) as net:
    bench, fast, lossy = (
        VirtualBench(net, each, Path("logs"), "virtual") for each in (true, faster, lossy)
    )
    rtt = bench.rtt()
    claims = {
        "rtt": rtt,
        "rate": bench.rate("down"),
        "queue": bench.queue("up", rtt),
        "loss": bench.losses()[0],
        "false rate": fast.rate("down"),
        "false rtt": lossy.rtt(),
        "false loss": lossy.losses()[0],
    }
Path("record.json").write_text(json.dumps({k: v.model_dump() for k, v in claims.items()}))
"""


def test_a_true_claim_holds_and_a_false_one_does_not(virtual_guest: Guest) -> None:
    result = virtual_guest.python(PROGRAM)
    assert result.status == 0, result.output
    claims = json.loads((virtual_guest.directory / "record.json").read_text())
    verdicts = {name: claim["verdict"] for name, claim in claims.items()}
    assert verdicts == {
        **dict.fromkeys(("rtt", "rate", "queue", "loss"), "pass"),
        **dict.fromkeys(("false rate", "false rtt", "false loss"), "fail"),
    }, claims
    assert (claims["loss"]["sent"], claims["false loss"]["sent"]) == (1000, 5000)
    (measured_mbit,) = claims["false rate"]["attempts"]  # once, and it is the same line
    assert measured_mbit == pytest.approx(claims["rate"]["measured"], rel=0.0001)
    assert claims["false rate"]["error_share"] == pytest.approx(-0.0005, abs=0.0001)
