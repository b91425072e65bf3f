"""``fidelity.json``: what the emulation writes is what the analysis reads."""

from pathlib import Path

from stage_node.records.captures import CaptureCounters
from stage_node.records.fidelity import FidelityRecord, QdiscCounters
from topologies.fidelity.verdict import GoodputProbe, LossProbe, Probe, RttProbe, judge
from topologies.machine.cpu import IdleSample
from topologies.machine.pauses import Paused


def written() -> FidelityRecord:
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
        captures=[
            CaptureCounters(
                interface="a-eth0",
                link="a-b",
                captured=70,
                received_by_filter=70,
                dropped_by_kernel=0,
            )
        ],
        qdiscs=[
            QdiscCounters(
                link="a-b",
                direction="a_to_b",
                sent_packets=80,
                sent_bytes=9000,
                dropped_packets=3,
                lost_packets=4,
            )
        ],
        idle=[IdleSample(0, 10**9, 0.7)],
        paused=Paused(windows_ms=1000.0, paused_ms=20.0, longest_ms=7.5),
        late_ms=(0.5, 1.5),
    )
    return fidelity.record()


def test_the_report_reads_every_field_that_is_written(tmp_path: Path) -> None:
    record = written()
    record.write(tmp_path / "fidelity.json")
    assert FidelityRecord.read(tmp_path / "fidelity.json") == record
    assert record.model_fields_set >= FidelityRecord.model_fields.keys() - {"schema_version"}


def test_the_attempts_of_the_probe_are_read() -> None:
    assert written().attempts("a-b", "a_to_b") == 3


def test_a_record_that_does_not_tell_the_attempts_is_read() -> None:
    content = written().content()
    del content["links"][0]["attempt_errors"]
    assert FidelityRecord.model_validate(content).attempts("a-b", "a_to_b") is None
