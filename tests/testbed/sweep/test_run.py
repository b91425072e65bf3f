"""A sweep is a product of cells; each is run once, by Dask, and not again when it is whole."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from distributed import LocalCluster
from rich.console import Console

from analysis.sweep.table import read_cell
from stage_node.repository import REPOSITORY
from testbed.errors import BadExperimentError, HostUnavailableError
from testbed.hosts.choose import HostWish
from testbed.sweep import run as sweep_run
from testbed.sweep.file import find_sweep, load_sweep, shipped_sweeps
from testbed.sweep.run import CellPlace, Workers, list_cells, run_sweep
from tests.testbed.evidence.third_party import published_data_may_be_absent
from tests.testbed.sweep.played_runs import PROGRAMS, played_arguments, undisturbed

PLACE = CellPlace("microvm", "virtual")
SWEEP = """
name: story
experiment: accordion-star
set: {network.links.ue1: lte}
parameters:
  network.links.ue2.rate_mbit: [5, 10]
  accordion.admission: [lookup, stream]
repetitions: 2
figures: [captured_packets, nothing.*]
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a sweep file, where a stand-in is run for every cell."""
    (tmp_path / "story.yaml").write_text(SWEEP)
    monkeypatch.setattr(sweep_run, "cell_arguments", played_arguments)
    monkeypatch.setattr(sweep_run, "connected", undisturbed(sweep_run.connected, tmp_path))
    monkeypatch.setattr(sweep_run, "_place", lambda *_: PLACE)
    monkeypatch.setenv("DIARY", str(tmp_path / "diary"))
    return tmp_path


def swept(place: Path, *, retry: bool = False, address: str | None = None) -> tuple[int, str]:
    """The exit status of a sweep with two workers, and what it said."""
    console = Console(record=True, width=200)
    workers = Workers(2, address)
    status = run_sweep(place / "story.yaml", HostWish(), place / "out", workers, retry, console)
    return status, console.export_text()


def diary(place: Path) -> list[tuple[str, list[int], float, float, list[Any]]]:
    """Key, CPUs, begin and end of every cell that was run, and its host, clock and seed."""
    return [tuple(json.loads(line)) for line in (place / "diary").read_text().splitlines()]


def test_a_cell_that_failed_is_run_again_and_no_other(place: Path, monkeypatch) -> None:
    monkeypatch.setenv("FAIL", "10")
    status, said = swept(place)
    assert status == 1
    assert "4 of 8 cells failed" in said and "the emulation fell over" in said
    assert "no column of numbers fits 'nothing.*'" in said
    first = diary(place)
    assert len({key for key, *_ in first}) == len(first) == 8
    table = pl.read_parquet(place / "out/table.parquet")
    assert table.filter(pl.col("verdict") == "failed")["network.links.ue2.rate_mbit"].to_list() == (
        [10] * 4
    )

    monkeypatch.delenv("FAIL")
    status, said = swept(place)
    assert status == 0 and "4 of 8 cells are done already" in said
    again = {key for key, *_ in diary(place)[8:]}
    assert len(diary(place)) == 12 and len(again) == 4
    assert again.isdisjoint(
        key for key, *_ in first if read_cell(place / "out/cells" / key) is None
    )

    assert swept(place)[0] == 0 and len(diary(place)) == 12  # nothing was left
    table = pl.read_csv(place / "out/table.csv")
    assert table.columns[:5] == [
        *("network.links.ue2.rate_mbit", "accordion.admission"), "repetition", "run", "verdict",
    ]  # fmt: skip
    assert table.height == 8 and set(table["verdict"]) == {"pass"}
    assert table["fidelity.rtt_error_ms_max"].to_list() == [0.1] * 8
    means = pl.read_csv(place / "out/intervals.csv")
    assert means.height == 4 and set(means["runs"]) == {2}
    assert (place / "out/plots/captured_packets.svg").exists()


def test_each_repetition_of_a_combination_is_another_sample_of_the_same_place(place: Path) -> None:
    assert swept(place)[0] == 0
    told = [place for *_, place in diary(place)]
    assert sorted(told) == [["microvm", "virtual", seed] for seed in (1, 2) for _ in range(4)]
    story = place / "story.yaml"
    story.write_text(SWEEP.replace("set: {", "set: {seed: 40, "))
    assert {cell.seed for cell in load_sweep(story).cells("here")} == {40, 41}


def test_two_cells_at_once_never_share_a_cpu(place: Path) -> None:
    assert swept(place)[0] == 0
    ran = diary(place)
    assert all(len(cpus) == 1 for _, cpus, *_ in ran)
    together = [
        (one, other)
        for one, other in combinations(ran, 2)
        if one[2] < other[3] and other[2] < one[3]
    ]
    assert all(one[1] != other[1] for one, other in together)
    assert together or len(os.sched_getaffinity(0)) == 1


def test_disturbed_cells_count_as_done_unless_asked_for(place: Path, monkeypatch) -> None:
    (place / "story.yaml").write_text(SWEEP.replace("[lookup, stream]", "[lookup]"))
    monkeypatch.setenv("VERDICT", "fail")
    status, said = swept(place)
    assert status == 1 and "4 of 4 cells had links that were not what they claim" in said
    assert pl.read_csv(place / "out/intervals.csv").height == 0
    assert swept(place)[0] == 1 and len(diary(place)) == 4
    monkeypatch.setenv("VERDICT", "warn")
    assert swept(place, retry=True)[0] == 0 and len(diary(place)) == 8


def test_the_same_sweep_runs_on_a_cluster_that_is_there(place: Path) -> None:
    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        status, _ = swept(place, address=cluster.scheduler_address)
    assert status == 0 and len(diary(place)) == 8
    with pytest.raises(HostUnavailableError, match=r"--dask tcp://127\.0\.0\.1:9: no scheduler"):
        (place / "story.yaml").write_text(SWEEP.replace("name: story", "name: other"))
        run_sweep(
            place / "story.yaml", HostWish(), place / "o", Workers(1, "tcp://127.0.0.1:9"), False,
            Console(quiet=True),
        )  # fmt: skip


def test_an_interrupted_sweep_leaves_nothing_running_and_goes_on(place: Path, monkeypatch) -> None:
    program = PROGRAMS / "sweep_played_runs.py"
    process = subprocess.Popen(
        [sys.executable, program, place / "story.yaml", place / "out"],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "SLEEP": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not any("begun" in log.read_text() for log in (place / "out").glob("logs/*.log")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all that run in it
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted" in said and "Traceback" not in said
    assert not processes_naming(place)
    assert swept(place)[0] == 0 and len(diary(place)) == 8


def processes_naming(path: Path) -> list[str]:
    """Command lines of processes that mention a path."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(path) in line:
            found.append(line)
    return found


@pytest.mark.parametrize("name", shipped_sweeps())
def test_every_shipped_sweep_is_valid(name: str) -> None:
    with published_data_may_be_absent():
        sweep = load_sweep(find_sweep(Path(name)))
        assert sweep.file.name == name
        assert len({cell.key for cell in sweep.cells("microvm")}) == len(sweep.cells("microvm"))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("repetitions: 2", "repetitons: 2", ["repetitons: unknown field", "repetitions?"]),
        ("repetitions: 2", "repetitions: 0", ["repetitions: ", "0"]),
        ("[5, 10]", "[5, 5]", ["parameters: ", "rate_mbit: 5 is given twice"]),
        ("[5, 10]", "[]", ["parameters.network.links.ue2.rate_mbit: "]),
        (
            "[5, 10]",
            "[5, -1]",
            ["=-1", "network.links.ue2.rate_mbit: ", "greater than or equal to 0.001, got -1"],
        ),
        ("links.ue2", "links.ue9", ["=5", "network.links.ue9: needs a profile"]),
        ("accordion.admission", "accordion.admision", ["admision: unknown field", "admission?"]),
        ("[lookup, stream]", "[stream, guess]", ["=guess", "accordion.admission: ", "guess"]),
        ("accordion-star", "accordion-moon", ["experiment: accordion-moon: no such file"]),
        ("network.links.ue1: lte", "accordion.admission: lookup", ["set.accordion.admission"]),
        ("[5, 10]", "[5.5, '5.5']", ["make the same experiment"]),
        ("name: story", "name: ../story", ["name: "]),
        ("accordion.admission: [lookup, stream]", "description: [a, b]", ["the same experiment"]),
    ],
)
def test_a_mistake_is_told_once_before_anything_starts(
    tmp_path: Path, old: str, new: str, expected: list[str]
) -> None:
    file = tmp_path / "story.yaml"
    file.write_text(SWEEP.replace(old, new))
    with pytest.raises(BadExperimentError) as error:
        run_sweep(file, HostWish(), tmp_path / "o", Workers(1), False, Console(quiet=True))
    lines = str(error.value).splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"{file}: ")
    assert all(part in lines[0] for part in expected), lines
    assert not (tmp_path / "o").exists()


def test_a_key_changes_with_what_changes_the_figures_and_with_nothing_else(tmp_path: Path) -> None:
    experiment = (REPOSITORY / "testbed/experiments/accordion-star.yaml").read_text()
    text = SWEEP.replace("accordion-star", "mine.yaml").replace("[5, 10]", "[5]")

    def keys(experiment: str = experiment, text: str = text, host: str = "microvm") -> set[str]:
        (tmp_path / "mine.yaml").write_text(experiment)
        (tmp_path / "story.yaml").write_text(text)
        return {cell.key for cell in load_sweep(tmp_path / "story.yaml").cells(host)}

    as_it_was = keys()
    assert keys(experiment.replace("name: accordion-star", "name: other")) == as_it_was
    assert keys(text=text.replace("repetitions: 2", "repetitions: 3")) > as_it_was
    assert keys(text=text.replace("[5]", "[5, 9]")) > as_it_was
    assert keys(experiment.replace("ue3: 5g-100", "ue3: 5g-240")).isdisjoint(as_it_was)
    assert keys(host="native").isdisjoint(as_it_was)


def test_a_dry_run_prints_the_cells(place: Path) -> None:
    console = Console(record=True, width=120)
    list_cells(place / "story.yaml", console)
    said = console.export_text()
    assert "8 cells, 4 combinations x 2 repetitions" in said
    assert said.count("stream") == 2 and not (place / "out").exists()


def test_a_directory_belongs_to_one_sweep_at_a_time(place: Path) -> None:
    out = place / "out"
    with (
        sweep_run.SweepDirectory(out).locked(),
        pytest.raises(BadExperimentError, match="another sweep is at work"),
    ):
        swept(place)
    (place / "full").mkdir()
    (place / "full/thesis.txt").write_text("mine")
    with (
        pytest.raises(BadExperimentError, match="not a sweep's directory"),
        sweep_run.SweepDirectory(place / "full").locked(),
    ):
        pass


def test_a_sweep_over_clocks_is_refused_not_run_on_one_of_them(tmp_path: Path) -> None:
    file = tmp_path / "clocks.yaml"
    file.write_text(
        "name: clocks\nexperiment: accordion-download\nparameters: {clock: [real, virtual]}\n"
    )
    with pytest.raises(BadExperimentError, match="clock: all cells of a sweep run on one clock"):
        sweep_run.run_sweep(
            file, HostWish("microvm"), tmp_path / "out", Workers(1), False, Console(quiet=True)
        )
