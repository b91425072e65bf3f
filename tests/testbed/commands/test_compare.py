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
from stage_node.records.events import Event, LinkChanged, LinkCommanded
from stage_node.records.machine import FailureRecord
from stage_node.records.run_directory import RunDirectory
from testbed.commands.compare import compare_runs
from testbed.errors import BadExperimentError
from tests.analysis.synthetic_run import SyntheticRun
from tests.testbed.run.manifests import a_manifest


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


def conditions_of(run: Path, changed: Path) -> str:
    return re.sub(r"\s+", " ", compared(run, changed))


def edited(path: Path, name: str, **fields: object) -> Path:
    file = path / name
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    return path


def with_event(path: Path, event: Event) -> Path:
    with (path / "events.jsonl").open("a") as file:
        file.write(event.to_json() + "\n")
    return path


OTHER_MACHINE = {"cpu_model": "Other CPU", "cpus": 7}


def link_changed(rate_mbit: float) -> LinkChanged:
    return LinkChanged(
        t_ns=51_000_000_000, who="runner", link="ue1-edge", direction="a_to_b",
        rate_mbit=rate_mbit, delay_ms=5.0, loss_percent=0.0, late_ms=0.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("manifest.json", {"seed": 9}, "differs: seed: unknown (first), 9 (changed)"),
        ("manifest.json", {"host": "native"}, "native (changed)"),
        (
            "manifest.json",
            {"code": {"git_commit": "0123456789abcdef", "git_dirty": True}},
            "0123456789ab, with changes that are not committed (changed)",
        ),
        ("fidelity.json", {"clock": "virtual"}, "differs: clock: real (first), virtual (changed)"),
        (
            "manifest.json",
            {"outer_machine": a_manifest().outer_machine.model_dump() | OTHER_MACHINE},
            "Other CPU, 7 CPUs (changed)",
        ),
    ],
)
def test_what_a_run_was_made_under_is_told_where_it_differs(
    run: Path, another: Callable[[str], Path], name: str, fields: dict[str, object], said: str
) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    said = said.replace("unknown (first)", f"{manifest.get('seed', 'unknown')} (first)")
    assert said in conditions_of(run, edited(another("changed"), name, **fields))


def test_traces_scripted_changes_and_commands_are_seen(
    run: Path, another: Callable[[str], Path]
) -> None:
    traced = with_event(another("traced"), link_changed(2.0))
    assert "changes of link ue1-edge a_to_b: none (first), 1 change, 2 to 2 Mbit/s" in (
        conditions_of(run, traced)
    )
    other = with_event(with_event(another("other"), link_changed(2.0)), link_changed(3.0))
    assert "1 change, 2 to 2 Mbit/s" in conditions_of(traced, other)
    command = LinkCommanded(t_ns=51_000_000_000, who="runner", request="r", said="ue1-edge: 2 Mbit")
    commanded = with_event(another("commanded"), command)
    assert "link set commands: none (first), ue1-edge: 2 Mbit at " in conditions_of(run, commanded)
    scripted = other_experiment(
        another("scripted"),
        network='{"changes": [{"at_s": 10, "link": "ue1-edge", "rate_mbit": 1}]}',
    )
    text = conditions_of(run, scripted)
    assert "experiment: network.changes.0.at_s: none (first), 10 (scripted)" in text
    assert "experiment: network.changes.0.rate_mbit: none (first), 1 (scripted)" in text


def test_the_page_has_the_conditions(
    run: Path, another: Callable[[str], Path], tmp_path: Path
) -> None:
    compared(run, edited(another("changed"), "manifest.json", seed=9), out=tmp_path / "out")
    page = (tmp_path / "out" / "compare.html").read_text()
    assert page.index("Those that differ") < page.index("<td>seed</td>")


def test_of_a_failed_run_that_and_why_it_failed(run: Path, tmp_path: Path) -> None:
    empty = SyntheticRun(pipeline=False, accordion=False).write(tmp_path / "empty")
    failure = FailureRecord(type="RunFailedError", message="stage edge ended", status=1)
    failure.write(RunDirectory(empty).failure)
    shown = StringIO()
    with pytest.raises(BadExperimentError, match="no figure in common; empty failed: stage edge"):
        compare_runs((run, empty), None, Console(file=shown, width=130))
    assert "warning: empty: the run failed: stage edge ended" in shown.getvalue()
    assert "the same in all: kind of host" in shown.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_every_number_is_whole_at_every_width(
    run: Path, another: Callable[[str], Path], width: int
) -> None:
    late = slower(another("late"), 7)
    number = re.compile(r"(?<![\w.])\u2212?\d[\d\u202f]*(?:\.\d+)?(?![\w.])")
    told = []
    for columns in (width, 1000):
        shown = StringIO()
        compare_runs((run, late), None, Console(file=shown, width=columns))
        assert "…" not in shown.getvalue()
        told.append(set(number.findall(shown.getvalue())))
    assert told[0] == told[1]
