"""When a profile is what it claims, when it is not, and when the host cannot tell."""

from typing import Any, Literal

import pytest

from topologies.fidelity.claims import (
    FidelityReport,
    LossClaim,
    ProfileFidelity,
    RttClaim,
    SaturationClaim,
)
from topologies.links.profiles import load_profile


def rate(*attempts: float, carried_mbit: float | None = None) -> SaturationClaim:
    return claim("rate", 0.005, attempts, carried_mbit)


def claim(
    what: Literal["rate", "queue"], tolerance: float, attempts: Any, carried_mbit: float | None
) -> SaturationClaim:
    return SaturationClaim(
        what=what,
        way="down",
        tool="TCP",
        configured=100,
        expected=100,
        tolerance_share=tolerance,
        needed_mbit=100,
        attempts=attempts,
        carried_mbit=carried_mbit,
    )


def rtt(measured_ms: float | None, early_ms: float = 0) -> RttClaim:
    return RttClaim(
        sent=20,
        received=20,
        expected_ms=100,
        measured_ms=measured_ms,
        tolerance_ms=1.0,
        early_ms=early_ms,
    )


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (rate(99.6), "pass"),
        (rate(100.4), "pass"),
        (rate(99.4), "fail"),
        (rate(100.6), "fail"),
        (rate(90, 92, 99.9), "pass"),
        (rate(99.9, 90), "fail"),  # the last counts, not the best
        (rate(90, carried_mbit=124), "not measurable"),
        (rate(90, carried_mbit=126), "fail"),
        (rate(110, carried_mbit=50), "fail"),  # a slow host makes no link faster
        (claim("queue", 0.10, (91.0,), None), "pass"),
        (claim("queue", 0.10, (89.0,), None), "fail"),
        (claim("queue", 0.10, (130.0,), 90), "not measurable"),  # but it delays
        (claim("queue", 0.10, (100.0,), 90), "not measurable"),  # by chance
        (rtt(100.99), "pass"),
        (rtt(101.01), "fail"),
        (rtt(98.9), "fail"),
        (rtt(98.9, early_ms=1), "pass"),
        (rtt(None), "fail"),
    ],
)
def test_a_claim_has_a_tolerance(claim: SaturationClaim | RttClaim, verdict: str) -> None:
    assert claim.verdict == verdict


@pytest.mark.parametrize(
    ("lost", "sent", "configured_percent", "verdict"),
    [
        (0, 1000, 0, "pass"),
        (1, 1000, 0, "fail"),  # a link without loss loses nothing
        (46, 4998, 1, "pass"),
        (90, 4998, 1, "fail"),
        (0, 4998, 1, "fail"),
        (0, 0, 1, "fail"),
    ],
)
def test_loss_is_judged_by_its_exact_interval(
    lost: int, sent: int, configured_percent: float, verdict: str
) -> None:
    claim = LossClaim(way="up", configured_percent=configured_percent, sent=sent, lost=lost)
    assert claim.verdict == verdict


def test_a_profile_is_as_good_as_its_worst_claim() -> None:
    lte = load_profile("lte")
    good = ProfileFidelity(profile=lte, rates=(rate(100),), rtt=rtt(100))
    assert good.verdict == "pass"
    assert ProfileFidelity(profile=lte).verdict == "fail"  # nothing was measured
    assert ProfileFidelity(profile=lte, rtt=rtt(100), failure="no iperf3").verdict == "fail"
    beyond = rate(90, carried_mbit=95)
    unknown = ProfileFidelity(profile=lte, rates=(beyond,), rtt=rtt(100))
    assert unknown.verdict == "not measurable"
    bad = ProfileFidelity(profile=lte, rates=(beyond,), rtt=rtt(200))
    assert bad.verdict == "fail"

    def verdict_of(*profiles: ProfileFidelity) -> str:
        return FidelityReport(host="microvm", started="now", profiles=profiles).verdict

    assert [verdict_of(good), verdict_of(good, unknown), verdict_of(good, unknown, bad)] == [
        "pass",
        "not measurable",
        "fail",
    ]


def test_a_report_reads_back_as_it_was_written() -> None:
    measured = ProfileFidelity(profile=load_profile("edge"), rates=(rate(90, 99.9),), rtt=rtt(100))
    report = FidelityReport(host="microvm", started="now", profiles=(measured,))
    assert FidelityReport.model_validate_json(report.model_dump_json()) == report
    assert report.model_dump()["profiles"][0]["rates"][0]["verdict"] == "pass"
    assert report.model_dump()["schema_version"] == 1
