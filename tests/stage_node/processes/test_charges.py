"""Computing takes what is declared, in stages and UEs; without charges, what it takes."""

import itertools
import queue
import time
from pathlib import Path

import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stage_node.errors import StageNodeError
from stage_node.fringe.workers import Batch, compute
from stage_node.processes.charges import (
    StageCharges,
    UnknownChargeError,
    interpolated,
    known_ms,
    spend,
)
from stage_node.processes.zygote import Zygote
from stage_node.records.ledger import Ledger, to_parquet
from stage_node.wire.rung import UNCOMPRESSED, Rung
from tests.stage_node.fringe.rig import NAMES, pipeline

BATCH = 8
FORWARD_MS = 60.0
FREE = {UNCOMPRESSED.name: 0.0}


def elapsed_ms(charge_ms: float, spent_ms: float = 0.0) -> float:
    begin_ns = time.monotonic_ns()
    spend(begin_ns - round(spent_ms * 1e6), charge_ms)
    return (time.monotonic_ns() - begin_ns) / 1e6


def test_what_is_left_of_a_charge_is_slept() -> None:
    assert elapsed_ms(20) >= 20
    assert elapsed_ms(20, spent_ms=15) >= 4.9


def test_work_that_took_longer_than_its_charge_is_not_slept_on() -> None:
    assert min(elapsed_ms(20, spent_ms=30) for _ in range(5)) < 5


charges_ms = st.floats(0, 1e6)


@given(a=charges_ms, b=charges_ms, batch=st.integers(2, 1024), share=st.floats(0, 1))
def test_between_two_batches_the_time_lies_on_a_line(
    a: float, b: float, batch: int, share: float
) -> None:
    known = {1: a, batch: b}
    images = 1 + round(share * (batch - 1))
    there = interpolated(known, images)
    assert min(a, b) - 1e-6 <= there <= max(a, b) + 1e-6
    assert there == pytest.approx(a + (b - a) * (images - 1) / (batch - 1), abs=1e-6)
    assert (interpolated(known, 1), interpolated(known, batch)) == (a, b)


@pytest.mark.parametrize("images", [0, 17])
def test_a_batch_beyond_those_that_are_known_is_an_error(images: int) -> None:
    with pytest.raises(UnknownChargeError, match=rf"batch of {images} images .*known are: 1, 16"):
        interpolated({16: 9.0, 1: 1.0}, images)


def test_coding_is_charged_per_image_and_an_unknown_rung_is_an_error() -> None:
    narrow = Rung.of(16, width=4)
    charges = StageCharges(
        forward_ms={1: 1.0}, encode_ms={narrow.name: 0.25}, decode_ms={UNCOMPRESSED.name: 0.5}
    )
    assert charges.of_encoding(narrow, 8) == 2.0
    assert charges.of_decoding(UNCOMPRESSED, 8) == 4.0
    with pytest.raises(UnknownChargeError, match="encoding under 'uncompressed'"):
        charges.of_encoding(UNCOMPRESSED, 8)
    with pytest.raises(UnknownChargeError, match=r"decoding under '4 of 16 channels'"):
        charges.of_decoding(narrow, 8)
    with pytest.raises(UnknownChargeError, match=r"an inference of '1-0-0'"):
        known_ms({"1-1-0": 3.0}, "1-0-0", "an inference of")


def test_charges_survive_the_way_to_the_stage() -> None:
    charges = StageCharges(forward_ms={1: 0.5, 16: 3.0}, encode_ms=FREE)
    assert StageCharges.model_validate_json(charges.model_dump_json()) == charges


class Doubling:
    """A model that takes no time."""

    def run(self, generation: int, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def computed_ms(folder: Path, charges: StageCharges | None) -> float:
    """What the ledger says of one batch of ``BATCH`` images."""
    ledger = Ledger("stage", folder)
    inbox: queue.Queue[Batch | None] = queue.Queue()
    inbox.put(Batch(0, 0, torch.ones(BATCH, 1)))
    inbox.put(None)
    compute(Doubling(), ledger.compute, inbox, queue.Queue(), charges)
    ledger.save()
    to_parquet(folder)
    (row,) = pl.read_parquet(folder / "compute.parquet").iter_rows(named=True)
    return (row["t_end_ns"] - row["t_begin_ns"]) / 1e6


def test_the_ledger_has_charged_computing_as_computing(tmp_path: Path) -> None:
    charges = StageCharges(forward_ms={1: 5.0, 15: 33.0})
    assert computed_ms(tmp_path, charges) >= 19.0  # 5 + 28 * 7 / 14


def test_without_charges_nothing_is_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stage_node.fringe.workers.spend", None)
    computed_ms(tmp_path, None)


def test_stages_on_different_hosts_compute_at_the_same_time(zygote: Zygote, tmp_path: Path) -> None:
    """Where computing is charged a stage sleeps, and leaves the processor to the others: three
    stages finish a frame in every charge, not in every third."""
    charges = StageCharges(forward_ms={1: FORWARD_MS, BATCH: FORWARD_MS}, encode_ms=FREE,
                           decode_ms=FREE)  # fmt: skip
    every = {number: {"charges": charges} for number in range(len(NAMES))}
    with pipeline(zygote, tmp_path, batch=BATCH, window=6, changes=every) as rig:
        rig.start()
        rig.clients[0].results(0, 20 * BATCH)
        assert rig.stop(zygote) == [0, 0, 0]
    to_parquet(tmp_path)
    rows = pl.read_parquet(tmp_path / "compute.parquet").sort("t_begin_ns")
    spans = {
        name: rows.filter(pl.col("node") == name).select("t_begin_ns", "t_end_ns").rows()
        for name in NAMES
    }
    for frames in spans.values():
        assert min(end - begin for begin, end in frames) >= FORWARD_MS * 1e6
        assert all(after[0] >= before[1] for before, after in itertools.pairwise(frames))
    together = sum(
        min(end, other_end) - max(begin, other_begin)
        for begin, end in spans["ue"]
        for other_begin, other_end in spans["cloud"]
        if max(begin, other_begin) < min(end, other_end)
    )
    assert together >= 0.5 * sum(end - begin for begin, end in spans["cloud"])


@pytest.mark.parametrize(
    ("charges", "said"),
    [
        (StageCharges(forward_ms={1: 0.0, 2: 0.0}, encode_ms=FREE), "a batch of 8 images"),
        (StageCharges(forward_ms={BATCH: 0.0}), "encoding under 'uncompressed'"),
    ],
)
def test_a_stage_that_does_not_know_its_charge_fails(
    zygote: Zygote, tmp_path: Path, charges: StageCharges, said: str
) -> None:
    with pipeline(zygote, tmp_path, batch=BATCH, changes={0: {"charges": charges}}) as rig:
        rig.start()
        with pytest.raises(StageNodeError, match=said):
            rig.clients[0].results(0, 20 * BATCH)
