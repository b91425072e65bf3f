"""`concertina compare`: runs side by side, with what speaks against it."""

import json
import re
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from analysis.errors import NotARunError
from testbed.commands.compare import compare_runs
from testbed.errors import BadExperimentError
from tests.analysis.synthetic_run import SyntheticRun


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SyntheticRun().write(tmp_path_factory.mktemp("compared") / "first")


@pytest.fixture
def another(run: Path, tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(run, tmp_path / name))


def compared(*paths: Path, out: Path | None = None) -> str:
    shown = StringIO()
    assert compare_runs(paths, out, Console(file=shown, width=130)) == 0
    return shown.getvalue().replace("\u202f", "").replace("\u2212", "-")


def slower(path: Path, ms: int) -> Path:
    """Every result comes so much later."""
    ledger = path / "ledger" / "results.parquet"
    late = pl.col("t_result_ns") + ms * 1_000_000
    pl.read_parquet(ledger).with_columns(late).write_parquet(ledger)
    return path


def other_experiment(path: Path, **fields: object) -> Path:
    file = path / "experiment.yaml"
    file.write_text(file.read_text() + "".join(f"{k}: {v}\n" for k, v in fields.items()))
    return path


def rows(out: Path, figure: str) -> list[dict[str, object]]:
    table = pl.read_csv(out / "compare.csv", infer_schema_length=None)
    return table.filter(pl.col("figure") == figure).rows(named=True)


def test_a_run_that_is_slower_by_seven_milliseconds(
    run: Path, another: Callable[[str], Path], tmp_path: Path
) -> None:
    late = slower(another("late"), 7)
    text = compared(run, late, out=tmp_path / "out")
    assert "late (1 run) against first (1 run)" in text
    for row in rows(tmp_path / "out", "end to end, median"):
        assert row["difference"] == pytest.approx(7.0)
        assert row["low"] <= 7.0 <= row["high"]
        assert row["method"] == "frames"
    for row in rows(tmp_path / "out", "of which waiting for TCP"):
        assert row["difference"] == pytest.approx(7.0)  # on the result's way back
    for row in rows(tmp_path / "out", "accuracy (test)"):
        assert (row["difference"], row["method"]) == (0.0, "images")


def test_the_page_needs_nothing_outside_itself(
    run: Path, another: Callable[[str], Path], tmp_path: Path
) -> None:
    compared(run, another("second"), out=tmp_path / "out")
    page = (tmp_path / "out" / "compare.html").read_text()
    references = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert references
    assert all(reference.startswith("data:") for reference in references)
    assert (tmp_path / "out" / "plots" / "differences.svg").exists()


def test_repetitions_share_a_column_and_give_the_interval(
    run: Path, another: Callable[[str], Path], tmp_path: Path
) -> None:
    ours = [run, slower(another("ours-2"), 2)]
    theirs = [
        other_experiment(slower(another(f"theirs-{k}"), 10 + 2 * k), name="other") for k in range(3)
    ]
    text = compared(*ours, *theirs, out=tmp_path / "out")
    assert "theirs-0 and 2 more (3 runs) against first and 1 more (2 runs)" in text
    for row in rows(tmp_path / "out", "end to end, median"):
        assert row["difference"] == pytest.approx(12 - 1)
        assert row["method"] == "repetitions"
        assert row["low"] < 11 < row["high"]


def test_another_network_and_a_failed_verdict_are_told(
    run: Path, another: Callable[[str], Path]
) -> None:
    path = another("changed")
    network = json.loads((path / "network.json").read_text())
    network["links"][0]["a_to_b"]["delay_ms"] = 25.0
    network["links"][1]["name"] = "renamed"
    (path / "network.json").write_text(json.dumps(network))
    fidelity = json.loads((path / "fidelity.json").read_text())
    (path / "fidelity.json").write_text(
        json.dumps({**fidelity, "verdict": "fail", "reasons": ["goodput 7 % short"]})
    )
    text = compared(run, path)
    assert "changed: fidelity fail: goodput 7 % short" in text
    assert "changed: link ue1-edge a_to_b: delay_ms 25.0 instead of 5.0" in text
    assert "only changed has link renamed" in text


def test_nothing_to_compare_is_one_line(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BadExperimentError, match="at least two"):
        compared(run)
    with pytest.raises(BadExperimentError, match="twice"):
        compared(run, run.parent / "first")
    with pytest.raises(NotARunError, match="no such directory"):
        compared(run, tmp_path / "nothing")
    empty = SyntheticRun(pipeline=False, accordion=False).write(tmp_path / "empty")
    with pytest.raises(BadExperimentError, match="no figure in common"):
        compared(run, empty)
