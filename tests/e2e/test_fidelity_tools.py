"""iperf3 and ping know a link that is what it claims from one that is not, in a microVM."""

import json

import pytest

from tests.e2e.conftest import Guest
from topologies.shaping import ideal_goodput_mbit

pytestmark = pytest.mark.microvm

# One link, held against what it is and against two claims that it is not: 5 % faster, and lossy
# with 1.5 ms less delay. Its buffer is deep: a pause of a busy machine shorter than the queue costs
# no rate.
PROGRAM = """
import json, sys
from pathlib import Path
from topologies import examination
from topologies.examination import Bench
from topologies.network import EmulatedNetwork
from topologies.profiles import parse_profile
from topologies.shapes import chain

here = Path(sys.argv[1])
examination.PING_ROUNDS = 1
examination.LOADED_PINGS = 60
examination.LOSS_DATAGRAMS = 1500

def profile(name, rate_mbit, delay_ms, loss_percent=0):
    way = {
        "rate_mbit": rate_mbit, "delay_ms": delay_ms, "loss_percent": loss_percent, "buffer_bdp": 10
    }
    return parse_profile(name, {"down": way, "up": way, "source": "test", "latency": "one-way"})

true = profile("true", 8, 10)
faster = profile("faster", 8.4, 10)
lossy = profile("lossy", 8, 9.25, 1)
with EmulatedNetwork(chain(["user", "server"], true), here / "logs") as net:
    bench, fast, lossy = (Bench(net, each, here / "logs") for each in (true, faster, lossy))
    rtt = bench.rtt()
    claims = {
        "rtt": rtt,
        "rate": bench.rate("down"),
        "queue": bench.queue("up", rtt),
        "loss": bench.losses()[0],
    }
    examination.RATE_ATTEMPTS, examination.RATE_S = 2, 3.0
    claims |= {
        "false rate": fast.rate("down"),
        "false rtt": lossy.rtt(),
        "false loss": lossy.losses()[0],
    }
(here / "record.json").write_text(json.dumps({k: v.model_dump() for k, v in claims.items()}))
"""


def test_a_true_claim_holds_and_a_false_one_does_not(guest: Guest) -> None:
    result = guest.python(PROGRAM, str(guest.directory))
    assert result.status == 0, result.output
    claims = json.loads((guest.directory / "record.json").read_text())
    verdicts = {name: claim["verdict"] for name, claim in claims.items()}
    assert verdicts == {
        **dict.fromkeys(("rtt", "rate", "queue", "loss"), "pass"),
        **dict.fromkeys(("false rate", "false rtt", "false loss"), "fail"),
    }, claims
    assert claims["loss"]["sent"] == pytest.approx(1000, abs=10)
    # A guest that stands still for long makes an attempt slower, never faster.
    assert max(claims["false rate"]["attempts"]) / 8 == pytest.approx(
        ideal_goodput_mbit(8) / 8, abs=0.01
    )
    assert claims["false rate"]["carried_mbit"] > 20  # this host was not what fell short
