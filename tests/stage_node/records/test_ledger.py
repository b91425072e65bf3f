"""The ledger: what a process leaves on disk, and the Parquet files made of it."""

import time
from pathlib import Path

import numpy as np
import polars
import pytest

from stage_node.records.ledger import COMPUTE, FRAMES, RESULTS, Ledger, Rows, to_parquet


def test_rows_outgrow_their_first_array() -> None:
    columns = ("sequence", "generation", "samples", "t_free_ns", "t_begin_ns", "t_end_ns")
    rows = Rows(columns, capacity=2)
    for number in range(1000):
        rows.append(number, 1, 8, 2**62, 2**62 + number, 2**62 + number + 1)
    table = rows.table(COMPUTE, node="edge")
    assert table["sequence"].tolist() == list(range(1000))
    assert table["t_begin_ns"][-1] == 2**62 + 999
    assert set(table["node"]) == {b"edge"}


def test_several_processes_make_one_table(tmp_path: Path) -> None:
    for process in ("ue", "edge"):
        ledger = Ledger(process, tmp_path)
        ledger.compute.append(5, 1, 8, 90, 100, 200)
        ledger.save()
    to_parquet(tmp_path)
    compute = polars.read_parquet(tmp_path / "compute.parquet")
    row = (5, 1, 8, 90, 100, 200)
    assert compute.sort("node").rows() == [("edge", *row), ("ue", *row)]
    assert not list(tmp_path.glob("*.npy"))


def test_a_table_that_nobody_wrote_is_there_and_empty(tmp_path: Path) -> None:
    np.save(tmp_path / "compute-edge.npy", np.zeros(0, COMPUTE))
    to_parquet(tmp_path)
    for name, dtype in (("frames", FRAMES), ("compute", COMPUTE), ("results", RESULTS)):
        table = polars.read_parquet(tmp_path / f"{name}.parquet")
        assert tuple(table.columns) == dtype.names
        assert table.is_empty()


def test_what_was_converted_before_stays(tmp_path: Path) -> None:
    np.save(tmp_path / "compute-edge.npy", np.zeros(3, COMPUTE))
    to_parquet(tmp_path)
    to_parquet(tmp_path)
    assert polars.read_parquet(tmp_path / "compute.parquet").height == 3


@pytest.mark.real_clock
def test_a_row_costs_next_to_nothing() -> None:
    """20 µs would be 1 % of a frame at 500 frames/s; typical is 1."""
    rows = Rows(tuple("abcdefghijk"))
    took_s = []
    for _ in range(3):
        begin = time.perf_counter()
        for number in range(10_000):
            rows.append(*range(number, number + 11))
        took_s.append((time.perf_counter() - begin) / 10_000)
    assert min(took_s) < 20e-6


def test_saving_again_replaces_what_was_saved(tmp_path: Path) -> None:
    ledger = Ledger("ue", tmp_path)
    for _ in range(2):
        ledger.results.append(0, 0, 8, 8, 1, 2)
        ledger.save()
    to_parquet(tmp_path)
    assert len(polars.read_parquet(tmp_path / "results.parquet")) == 2


def test_text_that_numpy_would_cut_is_not_lost(tmp_path: Path) -> None:
    ledger = Ledger("a-host-with-a-rather-long-name", tmp_path)
    ledger.compute.append(0, 0, 0, 0, 0, 0)
    ledger.save()
    to_parquet(tmp_path)
    node = polars.read_parquet(tmp_path / "compute.parquet")["node"][0]
    assert node == "a-host-with-a-rather-long-name"
    with pytest.raises(ValueError, match="32"):
        Ledger("x" * 33, tmp_path)
