"""A plan says everything that a run will do, as plain data, before anything starts."""

from pathlib import Path

import pytest

from testbed.experiment import find_experiment, load_experiment
from testbed.ladders import ladder_tables, read_table
from testbed.plan import RunPlan
from testbed.planning import plan_run
from testbed.rundir import RunDirectory


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return RunDirectory.create("x", tmp_path / "run")


def test_the_demo_is_planned_whole_and_survives_the_way_into_the_host(run: RunDirectory) -> None:
    plan = plan_run(load_experiment(find_experiment(Path("demo"))), run)
    assert RunPlan.model_validate_json(plan.model_dump_json()) == plan

    pipeline, accordion = plan.phases
    assert [job.host for job in pipeline.jobs] == ["ue1", "edge", "cloud", "ctl"]
    stages = pipeline.jobs[-1].arguments["plan"]["stages"]
    assert [stage["layers"][-1] for stage in stages] == ["block1_2", "block2_2", "head"]
    assert len({stage["control_ip"] for stage in stages}) == 3

    server, ue = accordion.jobs
    assert server.service and not ue.service
    (estimate,) = server.arguments["estimates"].values()
    assert estimate == {"rate_mbit": 12, "rtt_ms": 74}  # the slower of LTE and fibre, both RTTs
    assert set(plan.modules) == {
        "stage_node.stage",
        "controller.main",
        "controller.accordion.serve",
        "stage_node.ue",
    }


def test_the_ladder_travels_with_the_run_and_is_measured_once(
    run: RunDirectory, cache: Path, tmp_path: Path
) -> None:
    experiment = load_experiment(find_experiment(Path("demo")))
    plan_run(experiment, run)
    (kept,) = (cache / "concertina" / "ladders").iterdir()
    built_at = (kept / "ladder.json").stat().st_mtime_ns
    plan_run(experiment, RunDirectory.create("again", tmp_path / "again"))
    assert (kept / "ladder.json").stat().st_mtime_ns == built_at
    table = read_table(run.ladder)
    assert [ladder.after for ladder in table.ladders] == ["block1_2", "block2_2"]
    assert [shown.row_count for shown in ladder_tables(table)] == [
        len(ladder.rungs) for ladder in table.ladders
    ]
