"""Figures of a simulated run, against what the simulator knows."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from analysis.metrics.delivery.downloads import delivery
from analysis.metrics.delivery.transfers import expected_download
from analysis.metrics.links.sequence import sequence_table
from analysis.metrics.measure import measure
from analysis.metrics.pipeline.windows import window_frames
from analysis.run.reader import read_run
from analysis.summary.pipeline import Window
from stage_node.records.events import Measurement
from tests.analysis import synthetic_run as synthetic
from tests.analysis.conftest import Known
from tests.analysis.synthetic_records import probed_rtt_ms
from tests.analysis.tcp.tcp_simulator import HEADERS, MSS

WARM_UP = 2


def window(known: Known, label: str) -> Window:
    assert known.summary.pipeline
    return next(w for w in known.summary.pipeline.windows if w.label == label)


def packets_of(frame_bytes: int) -> int:
    return -(-frame_bytes // MSS)


def test_every_frame_is_found_on_the_wire_when_it_was_there(known: Known) -> None:
    frames = known.measured.frames.sort("cut", "sequence")
    assert frames.height == 2 * 2 * synthetic.FRAMES
    assert known.summary.problems == ()
    for row in frames.iter_rows(named=True):
        label = "before" if row["generation"] == 0 else "after"
        key = (label, row["cut"], row["sequence"] % 1000)
        assert abs(row["t_first_out_ns"] - known.truth.first_out_ns[key]) <= 1
        assert abs(row["t_delivered_ns"] - known.truth.delivered_ns[key]) <= 1


def test_retransmitted_bytes_are_laid_to_the_frames_that_suffered_them(known: Known) -> None:
    frames = known.measured.frames
    for cut, size in known.truth.retransmitted.items():
        assert frames.filter(pl.col("cut") == cut)["retransmitted_bytes"].sum() == size
    assert known.truth.retransmitted[0] > 0


@pytest.mark.parametrize("label", ["before", "after"])
def test_bytes_per_inference_on_the_wire(known: Known, label: str) -> None:
    for cut, figures in enumerate(window(known, label).cuts):
        payload = synthetic.SPLIT_BYTES[label][cut]
        frame = payload + synthetic.HEADER_BYTES
        assert figures.inferences == (synthetic.FRAMES - WARM_UP) * synthetic.BATCH
        assert figures.payload_bytes == payload / synthetic.BATCH
        assert figures.frame_bytes == frame / synthetic.BATCH
        again = figures.retransmitted_bytes
        assert again == (MSS if (label, cut) == ("before", 0) else 0)
        wire = frame * figures.frames + HEADERS * packets_of(frame) * figures.frames
        wire += again + HEADERS if again else 0
        assert figures.wire_bytes == pytest.approx(wire / figures.inferences)


def test_eq_1_and_eq_2_add_up(known: Known) -> None:
    pipeline = known.summary.pipeline
    assert pipeline
    before, after = window(known, "before"), window(known, "after")
    for sums, figure in (
        (pipeline.bandwidth_reduction, lambda cut: cut.wire_bytes),
        (pipeline.latency_reduction, lambda cut: cut.transfer.median_ms),
    ):
        assert sums
        w, p = (sum(figure(cut) for cut in side.cuts) for side in (before, after))
        assert sums.total.reduction == pytest.approx(w - p)
        assert sums.total.share == pytest.approx((w - p) / w)
        assert sum(part.reduction for part in sums.connections) == pytest.approx(w - p)


def test_the_split_stands_beside_the_raw_input_and_the_uncompressed_split(known: Known) -> None:
    pipeline = known.summary.pipeline
    assert pipeline and pipeline.baselines
    first, second = pipeline.baselines.connections
    assert (first.uncompressed_bytes, first.compressed_bytes) == (4000, 1000)
    assert (first.uncompressed_is_loss, first.compressed_is_loss) == (True, True)
    assert (second.uncompressed_bytes, second.compressed_bytes) == (2000, 500)
    assert (second.uncompressed_is_loss, second.compressed_is_loss) == (True, False)
    total = pipeline.baselines.total
    assert total.raw_input_bytes == 2 * synthetic.RAW_INPUT_BYTES
    assert (total.compressed_bytes, total.compressed_is_loss) == (1500, False)
    # half the probed round trip, and a frame's images at the goodput of the link
    goodput_mbit = synthetic.RATES_MBIT[0] * MSS / (MSS + HEADERS)
    frame_bits = 8 * synthetic.RAW_INPUT_BYTES * synthetic.BATCH
    expected_ms = probed_rtt_ms(0) / 2 + frame_bits / goodput_mbit / 1e3
    assert first.raw_input_ms == pytest.approx(expected_ms)
    assert pipeline.latency_reduction
    assert total.compressed_ms == pipeline.latency_reduction.total.after


def test_a_step_that_sends_more_than_the_raw_input_is_a_loss(known: Known) -> None:
    pipeline = known.summary.pipeline
    assert pipeline
    for step in pipeline.iterations:
        assert step.is_loss == tuple(
            size > synthetic.RAW_INPUT_BYTES for size in step.bytes_per_inference
        )
    assert len({step.is_loss for step in pipeline.iterations}) > 1


def test_wait_and_transfer_make_the_hop(known: Known) -> None:
    for cut in window(known, "before").cuts:
        assert cut.wait
        assert cut.transfer
        assert cut.hop
        assert cut.wait.mean_ms + cut.transfer.mean_ms == pytest.approx(cut.hop.mean_ms)


def test_a_link_is_as_busy_as_its_bytes_make_it(known: Known) -> None:
    figures = window(known, "before")
    frame = synthetic.SPLIT_BYTES["before"][0] + synthetic.HEADER_BYTES
    bits = (frame + HEADERS * packets_of(frame)) * 8
    share = bits / (synthetic.PERIOD_MS * 1e-3) / (synthetic.RATES_MBIT[0] * 1e6)
    assert figures.busiest
    assert (figures.busiest.link, figures.busiest.direction) == ("ue1-edge", "a_to_b")
    assert figures.busiest.busy == pytest.approx(share, rel=0.01)
    assert figures.slowest == figures.busiest  # here the link of least capacity is also busiest


def test_results_come_at_the_rate_at_which_frames_were_admitted(known: Known) -> None:
    rate = synthetic.BATCH / (synthetic.PERIOD_MS * 1e-3)
    assert window(known, "after").inferences_per_s == pytest.approx(rate, rel=0.01)


def test_frames_outside_the_window_do_not_count(known: Known) -> None:
    run = known.measured.run
    before = run.events_of(Measurement)[0]
    inside = window_frames(run, known.measured.frames, before)
    assert set(inside["generation"]) == {0}
    assert inside["sequence"].min() == WARM_UP


def test_both_captures_and_the_kernel_agree(known: Known) -> None:
    for link in known.summary.links:
        assert link.qdisc_difference == 0
        assert link.received_packets > 0
    lost = {(x.link, x.direction): x.lost_packets for x in known.summary.links}
    assert lost["ue1-edge", "a_to_b"] == 1


def test_throughput_holds_every_byte_that_arrived(known: Known) -> None:
    for link in known.summary.links:
        mine = (pl.col("link") == link.link) & (pl.col("direction") == link.direction)
        bins = known.measured.throughput.filter(mine)
        width_s = bins["t_s"][1] - bins["t_s"][0]
        carried = bins["mbit_per_s"].sum() * width_s * 1e6 / 8
        assert carried == pytest.approx(link.received_wire_bytes)


def test_a_download_lasts_from_the_first_syn_to_the_last_byte(known: Known) -> None:
    assert known.summary.accordion
    downloads = known.summary.accordion.downloads
    assert [d.duration_ms for d in downloads] == pytest.approx(known.truth.downloads_ms, abs=1e-5)
    assert [d.deadline_met for d in downloads] == [True, None]
    assert downloads[0].payload_bytes == 60_000 + synthetic.HTTP_HEADER_BYTES
    assert downloads[1].begin_s > downloads[0].duration_ms / 1e3


def test_an_ideal_tcp_takes_about_the_least_time(known: Known) -> None:
    assert known.summary.accordion
    for download in known.summary.accordion.downloads:
        assert download.excess is not None
        assert 0 <= download.excess - synthetic.THINKING_MS / download.duration_ms < 0.02


def test_the_least_time_rests_on_the_probe_not_on_the_download_s_own_handshake(
    copied: Callable[[], Path],
) -> None:
    """A slow handshake would else excuse itself."""
    path = copied()
    record = json.loads((path / "fidelity.json").read_text())
    record["rtt"][0]["rtt_min_ms"] = 4.0
    (path / "fidelity.json").write_text(json.dumps(record))
    accordion = measure(read_run(path)).summary.accordion
    assert accordion
    for download in accordion.downloads:
        assert download.expected
        assert download.expected.handshake_ms == download.expected.request_ms == 4.0
        assert download.handshake_ms == pytest.approx(probed_rtt_ms(0), abs=0.1)


def test_how_often_the_probe_had_to_try_is_told(known: Known) -> None:
    attempts = {link.link: link.probe_attempts for link in known.summary.links}
    assert attempts == {"ue1-edge": 1, "edge-cloud": 2}


def test_the_server_s_own_time_is_told_from_the_network_s(known: Known) -> None:
    assert known.summary.accordion
    for download in known.summary.accordion.downloads:
        assert download.server_ms == pytest.approx(synthetic.THINKING_MS, abs=1e-5)


def test_configurations_are_ready_when_their_last_byte_came(known: Known) -> None:
    assert known.summary.accordion
    steps = known.summary.accordion.configurations
    for step in steps:
        ready_ns = known.truth.ready_ns[step.configuration] - known.truth.first_syn_ns
        assert step.delivered_s == pytest.approx(ready_ns / 1e9, abs=1e-8)
        assert step.usable_s
        assert step.usable_s > step.ready_s > step.delivered_s
    assert [s.accuracy.split for s in steps if s.accuracy] == ["test"] * 3


def test_delivery_grows_to_the_size_of_the_file(known: Known) -> None:
    table = delivery(known.measured.transfers)
    assert table["file_bytes"][0] == 0
    assert table["file_bytes"][-1] == 100_000
    assert table["t_s"].is_sorted()
    assert table["file_bytes"].is_sorted()


@pytest.mark.parametrize(
    ("size", "goodput_mbit", "rtt_ms", "rounds_idle"),
    [
        (10_000, 100.0, 50.0, 0),  # fits the first window
        (20_000, 100.0, 50.0, 1),
        (60_000, 100.0, 50.0, 2),
        (60_000, 1.0, 50.0, 0),  # the first window fills the pipe
    ],
)
def test_slow_start_costs_round_trips_only_while_the_pipe_is_not_full(
    size: int, goodput_mbit: float, rtt_ms: float, rounds_idle: int
) -> None:
    expected = expected_download(size, MSS, goodput_mbit, rtt_ms)
    segment_ms = MSS * 8e-3 / goodput_mbit
    idle = sum(rtt_ms - (10 * 2**n - 1) * segment_ms for n in range(rounds_idle))
    assert expected.slow_start_ms == pytest.approx(idle)
    assert expected.total_ms == pytest.approx(2 * rtt_ms + idle + size * 8e-3 / goodput_mbit)


def test_the_time_sequence_shows_both_ends_and_the_retransmission(known: Known) -> None:
    row = known.measured.frames.filter(pl.col("retransmitted_bytes") > 0).row(0, named=True)
    transfers = known.measured.wire
    flow = next(f for f in transfers.flows if f.sport == row["local_port"])
    ends = transfers.two_ends(flow, row["t_end_ns"])
    assert ends
    table = sequence_table(ends, row["first_byte"], row["end_byte"])
    kinds = table["what"].value_counts()
    counts = dict(kinds.iter_rows())
    assert counts["retransmitted"] == 1
    assert counts["received"] == counts["sent"]  # one lost, one repeated
    assert table.filter(pl.col("what") == "sent")["t_ms"].min() == 0
