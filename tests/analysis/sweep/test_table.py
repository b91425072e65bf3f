"""Runs of a sweep become a table; means get their intervals; plots show every run."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import bootstrap

from analysis.summary import Summary
from analysis.summary.network import FidelitySummary
from analysis.sweep.plot import plot_figure
from analysis.sweep.report import write_sweep
from analysis.sweep.table import SweepRun, chosen_figures, figures, intervals, read_cell, tidy


def fidelity(verdict: str = "pass") -> FidelitySummary:
    return FidelitySummary(
        verdict=verdict, reasons=(), goodput_error_max=None, rtt_error_ms_max=None,
        capture_dropped_packets=None, qdisc_difference_max=None, cpu_idle_min_share=None,
        cpu_idle_seconds=None,
    )  # fmt: skip


def run(settings: dict, repetition: int, packets: int | None, verdict: str = "pass") -> SweepRun:
    """A run of which nothing but a count of packets is known; None: it failed."""
    summary = None
    if packets is not None:
        summary = Summary(
            name="t", failure=None, fidelity=fidelity(verdict), problems=(), links=(), replays=(),
            captured_packets=packets, together=False, pipelines=(), accordion=None,
        )  # fmt: skip
    return SweepRun(settings, repetition, f"cells/{repetition}", summary)


RUNS = [
    *(run({"rate_mbit": 5, "window": 1}, n, packets) for n, packets in enumerate((10, 12, 17))),
    run({"rate_mbit": 5, "window": 4}, 0, 30),
    run({"rate_mbit": 2.5, "window": 1}, 0, 7),
    run({"rate_mbit": 2.5, "window": 1}, 1, 900, "fail"),
    run({"rate_mbit": 2.5, "window": 4}, 0, None),
]


def test_every_scalar_figure_of_a_run_is_a_column_with_its_unit(known) -> None:
    summary = known.summary
    row = figures(summary)
    after = next(w for w in summary.pipeline.windows if w.label == "after")
    assert row["pipeline.windows.after.end_to_end.median_ms"] == after.end_to_end.median_ms
    assert row["pipeline.windows.after.accuracy_share"] == after.accuracy.value
    reduction = summary.pipeline.bandwidth_reduction.total
    assert row["pipeline.bandwidth_reduction.total.after_bytes"] == reduction.after
    assert row["pipeline.bandwidth_reduction.total.share"] == reduction.share
    link = summary.links[0]
    assert row[f"links.{link.link}.{link.direction}.sent_packets"] == link.sent_packets
    assert row["pipeline.frozen_unchanged"] is True and "schema_version" not in row
    assert not [name for name in row if "iterations" in name or "blocks" in name]
    assert read_cell(known.path) == summary


def test_a_run_without_its_last_file_is_not_whole(copied) -> None:
    path = copied()
    (path / "report.html").unlink()
    assert read_cell(path) is None


@pytest.mark.parametrize("harm", ['{"schema": 1', "", "{}"])
def test_a_summary_that_was_cut_short_is_not_whole(tmp_path: Path, harm: str) -> None:
    (tmp_path / "summary.json").write_text(harm)
    (tmp_path / "report.html").write_text("")
    assert read_cell(tmp_path) is None


def test_the_table_has_a_row_for_every_run_failed_ones_too() -> None:
    table = tidy(RUNS)
    assert table["verdict"].to_list() == ["pass"] * 5 + ["fail", "failed"]
    assert table.schema["rate_mbit"] == pl.Float64 and table.schema["window"] == pl.Int64
    assert table["captured_packets"].to_list() == [10, 12, 17, 30, 7, 900, None]
    assert chosen_figures(table, ["capt*", "nothing"]) == ["captured_packets"]


def test_values_that_are_no_numbers_stay_what_the_file_says() -> None:
    mixed = tidy([run({"link": value}, 0, 1) for value in ("lte", 5, {"rate_mbit": 5})])
    assert mixed["link"].to_list() == ["lte", "5", '{"rate_mbit": 5}']


def test_the_interval_is_students() -> None:
    rows = intervals(tidy(RUNS), ["rate_mbit", "window"], ["captured_packets"]).rows()
    # t.ppf(0.975, 2) = 4.302653 from printed tables; s = 3.605551
    assert rows[0][:4] == (5.0, 1, "captured_packets", 3)
    assert rows[0][4:] == pytest.approx((13.0, 4.302653 * 3.605551 / 3**0.5), rel=1e-6)
    assert rows[1:] == [
        (5.0, 4, "captured_packets", 1, 30.0, None),
        (2.5, 1, "captured_packets", 1, 7.0, None),  # without the run whose links failed
    ]


def test_the_interval_agrees_with_a_bootstrap_where_runs_are_many() -> None:
    values = np.random.default_rng(5).normal(100, 9, 400).round().astype(int)
    table = tidy([run({"x": 1}, n, int(value)) for n, value in enumerate(values)])
    *_, mean, half_width = intervals(table, ["x"], ["captured_packets"]).row(0)
    ends = bootstrap((values,), np.mean, rng=np.random.default_rng(6)).confidence_interval
    assert (mean - half_width, mean + half_width) == pytest.approx(tuple(ends), abs=0.15)


@pytest.mark.parametrize("parameters", [["window"], ["rate_mbit", "window"]])
def test_a_plot_shows_means_and_every_run(parameters: list[str]) -> None:
    table = tidy(RUNS)
    means = intervals(table, parameters, ["captured_packets"])
    (axes,) = plot_figure(table, means, parameters, "captured_packets").axes
    dots = [tuple(p) for c in axes.collections for p in np.asarray(c.get_offsets()) if len(p)]
    assert {y for _, y in dots} >= {10, 12, 17, 30, 7, 900}
    assert {line.get_ydata()[0] for line in axes.lines if len(line.get_ydata())} & {
        13.0,
        30.0,
        11.5,
    }


def test_a_sweep_leaves_table_intervals_and_plots(tmp_path: Path) -> None:
    files = write_sweep(tmp_path, "t", RUNS, ["captured_packets", "nothing.*"])
    assert files.unknown == ("nothing.*",)
    assert pl.read_parquet(files.table).equals(tidy(RUNS))
    assert [path.name for path in files.plots] == ["captured_packets.svg"]
    assert pl.read_csv(tmp_path / "plots/captured_packets.csv").height == len(RUNS)


def test_a_sweep_of_failures_has_a_table_and_no_plots(tmp_path: Path) -> None:
    files = write_sweep(tmp_path, "t", [run({"x": 1}, 0, None)], [])
    assert files.plots == () and pl.read_parquet(files.table)["verdict"].to_list() == ["failed"]
