"""tcpdump and ping know a link that is what it claims from one that is not, in a microVM."""

import pytest

from tests.e2e.conftest import Guest

pytestmark = pytest.mark.microvm


def test_a_true_claim_holds_and_a_false_one_does_not(virtual_guest: Guest) -> None:
    claims = virtual_guest.facts("network/hold_claims.py")
    verdicts = {name: claim["verdict"] for name, claim in claims.items()}
    assert verdicts == {
        **dict.fromkeys(("rtt", "rate", "queue", "loss"), "pass"),
        **dict.fromkeys(("false rate", "false rtt", "false loss"), "fail"),
    }, claims
    assert (claims["loss"]["sent"], claims["false loss"]["sent"]) == (1000, 5000)
    (measured_mbit,) = claims["false rate"]["attempts"]  # once, and it is the same line
    assert measured_mbit == pytest.approx(claims["rate"]["measured"], rel=0.0001)
    assert claims["false rate"]["error_share"] == pytest.approx(-0.0005, abs=0.0001)
