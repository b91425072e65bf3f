"""The verdict on a network: what passes, what warns, what fails, and why."""

import json
from dataclasses import replace
from typing import Any

import pytest

from stage_node.records.captures import CaptureCounters
from stage_node.records.fidelity import QdiscCounters
from stage_node.records.vocabulary import ClockKind
from topologies.fidelity.tolerances import PROBE
from topologies.fidelity.verdict import (
    Fidelity,
    GoodputProbe,
    LossProbe,
    Probe,
    RttProbe,
)
from topologies.fidelity.verdict import judge as judge_machine_too
from topologies.machine.cpu import IdleSample
from topologies.machine.pauses import Paused


def goodput(share: float | None, clock: ClockKind = "real") -> GoodputProbe:
    mbit = None if share is None else 95.6 * share
    errors = () if share is None else (share - 1,)
    share = PROBE[clock].rate_share
    return GoodputProbe("a-b", "a_to_b", 95.6, mbit, share, attempt_errors=errors)


def rtt(
    excess_ms: float | None,
    expected_ms: float = 70.0,
    early_ms: float = 0.0,
    clock: ClockKind = "real",
) -> RttProbe:
    shortest_ms = None if excess_ms is None else expected_ms + excess_ms
    allowed = PROBE[clock]
    tolerance_ms = allowed.rtt_ms + allowed.rtt_share * expected_ms
    return RttProbe("a-b", 1, 8, 8, shortest_ms, expected_ms, tolerance_ms, early_ms)


def probe(**parts: object) -> Probe:
    return Probe(**{"goodput": (), "rtt": (), "loss": (), **parts})  # type: ignore[arg-type]


def idle(share: float) -> IdleSample:
    return IdleSample(begin_ns=0, end_ns=10**9, idle_share=share)


CALM = [idle(0.9)]


def judge(*measured: Any, **others: Any) -> Fidelity:
    """The verdict of a machine that never paused."""
    undisturbed = Paused(windows_ms=1000, paused_ms=2, longest_ms=2)
    return judge_machine_too(*measured, **{"paused": undisturbed, **others})


@pytest.mark.parametrize("share", [0.991, 1.0, 1.009])
def test_goodput_within_one_percent_passes(share: float) -> None:
    assert judge(probe(goodput=(goodput(share),)), idle=CALM).verdict == "pass"


@pytest.mark.parametrize("share", [0.5, 0.989, 1.011])
def test_goodput_outside_fails_and_names_link_and_direction(share: float) -> None:
    fidelity = judge(probe(goodput=(goodput(share),)))
    assert fidelity.verdict == "fail"
    assert "link a-b a_to_b: goodput" in fidelity.reasons[0]


@pytest.mark.parametrize(
    ("share", "excess_ms", "verdict"),
    [(0.99992, 0.0, "pass"), (1.0, 0.0019, "pass"), (0.9998, 0.0, "fail"), (1.0, 0.0021, "fail")],
)
def test_on_the_virtual_clock_a_ten_thousandth_and_two_microseconds_are_allowed(
    share: float, excess_ms: float, verdict: str
) -> None:
    measured = probe(goodput=(goodput(share, "virtual"),), rtt=(rtt(excess_ms, clock="virtual"),))
    fidelity = judge_machine_too(measured, clock="virtual")
    assert fidelity.verdict == verdict
    assert len(fidelity.reasons) == (verdict == "fail"), "idle CPU and pauses are no matter"
    assert fidelity.record().content()["clock"] == "virtual"


def test_goodput_that_needed_more_than_one_attempt_warns_and_all_attempts_are_recorded() -> None:
    third = replace(goodput(0.995), attempt_errors=(-0.04, -0.02, -0.005))
    fidelity = judge(probe(goodput=(third,)))
    assert fidelity.verdict == "warn"
    assert fidelity.reasons[0] == (
        "link a-b a_to_b: goodput needed 3 attempts, the machine was busy or the link is at its "
        "limit"
    )
    assert fidelity.record().content()["links"][0]["attempt_errors"] == [-0.04, -0.02, -0.005]


def test_goodput_that_failed_at_every_attempt_is_told_once() -> None:
    last = replace(goodput(0.95), attempt_errors=(-0.04, -0.02, -0.05))
    (reason,) = judge(probe(goodput=(last,)), idle=CALM).reasons
    assert "-5.0000% from the ideal 95.6 at the last of 3 attempts" in reason


def test_goodput_is_not_judged_where_it_cannot_be_the_lines_rate() -> None:
    fidelity = judge(probe(goodput=(goodput(None),)), idle=CALM)
    assert fidelity.verdict == "pass"
    assert fidelity.record().content()["links"][0]["goodput_error"] is None


@pytest.mark.parametrize("excess_ms", [-1.19, 0.3, 1.19])  # 0.5 ms and 1 % of 70 ms
def test_a_round_trip_within_the_tolerance_passes(excess_ms: float) -> None:
    assert judge(probe(rtt=(rtt(excess_ms),)), idle=CALM).verdict == "pass"


@pytest.mark.parametrize("excess_ms", [-1.21, 1.21, None])
def test_a_round_trip_outside_or_none_at_all_fails(excess_ms: float | None) -> None:
    fidelity = judge(probe(rtt=(rtt(excess_ms),)))
    assert fidelity.verdict == "fail"
    assert "link a-b" in fidelity.reasons[0]


def test_jitter_may_bring_an_echo_back_early_but_not_late() -> None:
    assert rtt(-9.0, early_ms=10).ok
    assert not rtt(9.0, early_ms=10).ok


def test_loss_is_judged_by_what_chance_allows() -> None:
    assert LossProbe("a-b", "a_to_b", sent=1000, lost=9, configured_percent=1).ok
    assert not LossProbe("a-b", "a_to_b", sent=1000, lost=0, configured_percent=2).ok
    assert not LossProbe("a-b", "a_to_b", sent=1000, lost=60, configured_percent=2).ok


def test_an_incomplete_capture_fails_the_run() -> None:
    fidelity = judge(
        probe(),
        captures=[
            CaptureCounters(
                interface="a-eth0",
                link="a-b",
                captured=9,
                received_by_filter=10,
                dropped_by_kernel=0,
            )
        ],
    )
    assert fidelity.verdict == "fail"
    assert "capture a-eth0" in fidelity.reasons[0]


def test_too_little_idle_cpu_warns_but_does_not_fail() -> None:
    fidelity = judge(probe(), idle=[idle(0.9), idle(0.34)])
    assert fidelity.verdict == "warn"
    assert "1 of 2 network-bound seconds" in fidelity.reasons[0]
    assert judge(probe(), idle=[idle(0.35)]).verdict == "pass"


def test_idle_cpu_that_was_never_judged_is_no_pass() -> None:
    fidelity = judge(probe(), idle=[])
    assert fidelity.verdict == "warn"
    assert fidelity.reasons == ("CPU idle was not judged: no network-bound window",)
    record = fidelity.record().content()["cpu_idle"]
    assert (record["seconds"], record["share"], record["per_second_min_share"]) == (0, None, None)


def test_a_machine_that_did_other_work_meanwhile_warns_and_says_for_how_long() -> None:
    assert judge(probe(), idle=CALM, paused=Paused(20_000, 580, 40)).verdict == "pass"
    fidelity = judge(probe(), idle=CALM, paused=Paused(20_000, 820, 40.4))
    assert fidelity.verdict == "warn"
    (reason,) = fidelity.reasons
    assert "for 4.1% of 20.0 network-bound seconds nothing of the emulation ran" in reason
    assert "(longest 40 ms)" in reason
    assert fidelity.record().content()["pauses"] == {
        "windows_ms": 20_000, "paused_ms": 820, "longest_ms": 40.4, "share": pytest.approx(0.041)
    }  # fmt: skip


def test_a_machine_that_nobody_watched_is_no_pass() -> None:
    fidelity = judge(probe(), idle=CALM, paused=None)
    assert fidelity.verdict == "warn" and "not judged" in fidelity.reasons[0]
    assert fidelity.record().content()["pauses"] is None


def test_on_the_virtual_clock_neither_idle_cpu_nor_pauses_say_anything() -> None:
    fidelity = judge(probe(), idle=[], paused=None, clock="virtual")
    assert (fidelity.verdict, fidelity.reasons) == ("pass", ())
    assert fidelity.record().content()["clock"] == "virtual"


def test_a_failure_outweighs_a_warning_and_both_are_told() -> None:
    fidelity = judge(probe(rtt=(rtt(None),)), idle=[idle(0.1)])
    assert fidelity.verdict == "fail"
    assert len(fidelity.reasons) == 2


def test_the_record_holds_everything_the_verdict_rests_on() -> None:
    record = (
        judge(
            probe(
                goodput=(goodput(0.995),),
                rtt=(rtt(0.25),),
                loss=(LossProbe("a-b", "b_to_a", 1000, 11, 1.0),),
            ),
            captures=[
                CaptureCounters(
                    interface="a-eth0",
                    link="a-b",
                    captured=10,
                    received_by_filter=10,
                    dropped_by_kernel=0,
                )
            ],
            qdiscs=[
                QdiscCounters(
                    link="a-b",
                    direction="a_to_b",
                    sent_packets=10,
                    sent_bytes=15140,
                    dropped_packets=0,
                    lost_packets=0,
                )
            ],
            idle=[idle(0.5), idle(0.7)],
        )
        .record()
        .content()
    )
    assert json.loads(json.dumps(record)) == record
    assert (record["schema"], record["verdict"], record["reasons"]) == (1, "pass", [])
    assert record["links"][0]["goodput_error"] == pytest.approx(-0.005)
    assert record["rtt"][0]["tolerance_ms"] == pytest.approx(1.2)
    assert record["rtt"][0]["rounds"] == 1
    assert record["loss"][0]["lost"] == 11
    assert record["captures"]["captured"] == 10
    assert record["qdisc"][0]["sent_bytes"] == 15140
    assert record["cpu_idle"] == {
        "per_second_min_share": 0.5,
        "share": pytest.approx(0.6),
        "seconds": 2,
        "seconds_below": 0,
        "threshold": 0.35,
    }


@pytest.mark.parametrize(("late_ms", "verdict"), [(5.0, "pass"), (30.0, "warn")])
def test_a_replay_is_judged_by_how_late_its_changes_were(late_ms: float, verdict: str) -> None:
    probe, idle = Probe((), (), ()), [IdleSample(0, 1_000_000_000, 0.9)]
    once = judge(probe, idle=idle, late_ms=[1.0] * 99 + [500.0])
    assert once.verdict == "pass", "one change in a hundred may be late"
    often = judge(probe, idle=idle, late_ms=[1.0] * 90 + [late_ms] * 10)
    assert often.verdict == verdict
    assert often.record().content()["replay"] == {
        "changes": 100,
        "late_ms_p95": late_ms,
        "late_ms_max": late_ms,
    }
    assert judge(probe, idle=idle).record().content()["replay"]["late_ms_p95"] is None


def test_late_changes_are_counted_however_few_there_are() -> None:
    assert "replay: 1 of 2 changes of links came 30 ms late or more (the latest 30 ms)" in (
        judge(Probe((), (), ()), late_ms=[1.0, 30.0]).reasons
    )
