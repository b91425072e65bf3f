"""``fidelity.json``: what the emulation writes is what the analysis reads."""

from typing import Any

from analysis.run.reader import FidelityRecord
from topologies.emulation.capture_counters import CaptureCounters
from topologies.emulation.qdiscs import QdiscCounters
from topologies.fidelity.verdict import GoodputProbe, LossProbe, Probe, RttProbe, judge
from topologies.machine.cpu import IdleSample
from topologies.machine.pauses import Paused


def written() -> dict[str, Any]:
    """A record in which every field has a value of its own."""
    goodput = GoodputProbe(
        link="a-b",
        direction="a_to_b",
        ideal_goodput_mbit=95.6,
        goodput_mbit=95.0,
        tolerance_share=0.01,
        duration_s=2.5,
        longest_pause_ms=1.25,
        attempt_errors=(-0.04, -0.02, -0.006),
    )
    rtt = RttProbe("a-b", rounds=1, sent=20, received=19, rtt_min_ms=4.2, expected_ms=4.1,
                   tolerance_ms=0.5)  # fmt: skip
    loss = LossProbe("a-b", "b_to_a", sent=1000, lost=11, configured_percent=1.0)
    fidelity = judge(
        probe=Probe(goodput=(goodput,), rtt=(rtt,), loss=(loss,)),
        captures=[CaptureCounters("a-eth0", "a-b", 70, 70, 0)],
        qdiscs=[QdiscCounters("a-b", "a_to_b", 80, 9000, 3, 4)],
        idle=[IdleSample(0, 10**9, 0.7)],
        paused=Paused(windows_ms=1000.0, paused_ms=20.0, longest_ms=7.5),
        late_ms=(0.5, 1.5),
    )
    return fidelity.to_json()


def differences(read: object, written: object, where: str = "") -> list[str]:
    """Fields of the reader that the writer does not write, or not so."""
    if isinstance(read, dict) and isinstance(written, dict):
        return [
            problem
            for name, value in read.items()
            for problem in differences(value, written.get(name, "not written"), f"{where}.{name}")
        ]
    if isinstance(read, list) and isinstance(written, list) and len(read) == len(written):
        pairs = enumerate(zip(read, written, strict=True))
        return [each for at, pair in pairs for each in differences(*pair, f"{where}[{at}]")]
    return [] if read == written else [f"{where}: {read!r} is read, {written!r} is written"]


def test_every_field_that_is_read_is_written_so() -> None:
    record = written()
    read = FidelityRecord.model_validate(record)
    assert differences(read.model_dump(mode="json"), record) == []


def test_the_attempts_of_the_probe_are_read() -> None:
    read = FidelityRecord.model_validate(written())
    assert read.attempts("a-b", "a_to_b") == 3


def test_a_record_that_does_not_tell_the_attempts_is_read() -> None:
    record = written()
    del record["links"][0]["attempt_errors"]
    assert FidelityRecord.model_validate(record).attempts("a-b", "a_to_b") is None
