"""Where the time of each frame went, against a simulation whose every delay is known."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analysis.metrics.links.pace import paces
from analysis.metrics.links.throughput import Links
from analysis.metrics.pipeline.breakdown import PARTS
from analysis.run.reader import read_run
from analysis.summary.pipeline import Breakdown, PlaceParts
from tests.analysis.conftest import Known
from tests.analysis.synthetic_records import DELAYS_MS, RATES_MBIT
from tests.analysis.synthetic_run import (
    COMPUTE_MS,
    FRAMES,
    HEADER_BYTES,
    LOST_FRAME,
    MS,
    SPLIT_BYTES,
)
from tests.analysis.tcp.tcp_simulator import HEADERS, MSS

HOPS = ("ue1 → edge", "edge → cloud")


def window(known: Known, label: str) -> Breakdown:
    assert known.summary.pipeline
    (found,) = (w for w in known.summary.pipeline.windows if w.label == label)
    assert found.breakdown
    return found.breakdown


def place(breakdown: Breakdown, name: str) -> PlaceParts:
    return next(parts for parts in breakdown.places if parts.place == name)


def wire_ms(size: int, cut: int) -> float:
    """Serialisation of so many stream bytes in full segments."""
    segments = -(-size // MSS)
    return (size + segments * HEADERS) * 8e-3 / RATES_MBIT[cut]


def test_every_frame_is_taken_apart_and_the_parts_add_up(known: Known) -> None:
    assert known.summary.pipeline
    breakdown = known.summary.pipeline.breakdown
    assert breakdown
    assert breakdown.frames == 2 * FRAMES
    assert breakdown.closed_share == 1.0
    assert breakdown.worst_error < 0.01
    assert [parts.place for parts in breakdown.places] == [
        *("ue1", HOPS[0], "edge", HOPS[1], "cloud"),
        "cloud → ue1 (result)",
    ]


@pytest.mark.parametrize("label", ["before", "after"])
def test_propagation_and_compute_are_those_of_the_simulation(known: Known, label: str) -> None:
    breakdown = window(known, label)
    for cut, hop in enumerate(HOPS):
        assert place(breakdown, hop).propagation_ms == pytest.approx(DELAYS_MS[cut], abs=0.002)
    for host in ("ue1", "edge", "cloud"):
        assert place(breakdown, host).compute_ms >= COMPUTE_MS
    assert place(breakdown, "cloud → ue1 (result)").transport_ms == pytest.approx(1.0)


def test_serialisation_is_the_frame_s_own_bytes(known: Known) -> None:
    for label, sizes in SPLIT_BYTES.items():
        for cut, size in enumerate(sizes):
            spent = place(window(known, label), HOPS[cut]).serialisation_ms
            assert spent == pytest.approx(wire_ms(HEADER_BYTES + size, cut))


def test_a_repair_is_time_that_the_frame_waited_for_tcp(known: Known) -> None:
    hop = known.measured.pipelines[0].latency.places.filter(pl.col("place") == HOPS[0])
    before = hop.filter(pl.col("generation") == 0).sort("sequence")
    waited_ms = (before["transport_ns"] / 1e6).to_list()
    assert waited_ms.pop(LOST_FRAME) > 1
    assert max(waited_ms) == pytest.approx(0, abs=1e-3)


def test_what_a_hop_took_is_what_the_simulation_knows(known: Known) -> None:
    places = known.measured.pipelines[0].latency.places
    for cut, hop in enumerate(HOPS):
        for label, generation in (("before", 0), ("after", 2)):
            rows = places.filter(pl.col("place") == hop, pl.col("generation") == generation)
            rows = rows.sort("sequence")
            delivered_ns = [known.truth.delivered_ns[label, cut, k] for k in range(FRAMES)]
            truth = np.array(delivered_ns) - rows["begin_ns"].to_numpy()
            parts = rows.select(f"{part}_ns" for part in PARTS).sum_horizontal().to_numpy()
            assert np.abs(parts - truth).max() < 0.01 * MS


def test_blocks_are_on_the_time_line(known: Known) -> None:
    assert known.summary.accordion
    blocks = known.summary.accordion.blocks
    spans = [(b.configuration, b.first_byte, b.end_byte) for b in blocks]
    assert spans == [
        ("1-1-1", 0, 30_000),
        ("2-2-2", 30_000, 60_000),
        ("3-3-3", 60_000, 100_000),
    ]
    for block in blocks:
        ready_ns = known.truth.ready_ns[tuple(int(n) for n in block.configuration.split("-"))]
        assert block.delivered_s == pytest.approx((ready_ns - known.truth.first_syn_ns) / 1e9)
        times = (block.queued_s, block.first_out_s, block.last_out_s, block.delivered_s)
        assert None not in times
        assert list(times) == sorted(times)  # type: ignore[type-var]
        assert block.retransmitted_bytes == 0
        assert block.wire_bytes > block.end_byte - block.first_byte
    assert blocks[0].queued_s == blocks[1].queued_s  # one request for both


def test_the_capacity_of_a_link_that_was_not_probed_is_measured_where_it_was_busy(
    copied: Callable[[], Path],
) -> None:
    path = copied()
    fidelity = json.loads((path / "fidelity.json").read_text())
    for probe in fidelity["links"]:
        probe["goodput_mbit"] = None
    (path / "fidelity.json").write_text(json.dumps(fidelity))
    run = read_run(path)
    links = Links.of(run)
    assert set(links.capacity_mbit) == {None}
    measured = {step.label: pace.ns_per_byte[0] for step, pace in paces(run, links).items()}
    for cut, hop in enumerate(HOPS):
        assert 8e3 / measured[hop] == pytest.approx(RATES_MBIT[cut], rel=0.001)
