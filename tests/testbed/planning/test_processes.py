"""A plan says everything that a run will do, as plain data, before anything starts."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from controller.accordion.serving.link_estimate import LinkEstimate
from stage_node.records.run_directory import RunDirectory
from testbed.errors import BadExperimentError
from testbed.experiment.file import find_experiment, load_experiment
from testbed.planning.checked import check_experiment, checked_file
from testbed.planning.ladders import check_measured, ladder_tables, read_table
from testbed.planning.plan import RunPlan
from testbed.planning.processes import plan_pipelines, plan_run
from testbed.run.directory import create_run_directory
from testbed.run.runner import show_ladder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return create_run_directory("x", tmp_path / "run")


def test_the_demo_is_planned_whole_and_survives_the_way_into_the_host(run: RunDirectory) -> None:
    plan = plan_run(check_experiment(load_experiment(find_experiment(Path("demo"))), "x.yaml"), run)
    assert RunPlan.model_validate_json(plan.model_dump_json()) == plan

    pipeline, accordion = plan.phases
    assert [job.host for job in pipeline.jobs] == ["ue1", "edge", "cloud", "ctl"]
    stages = pipeline.jobs[-1].arguments["plan"]["stages"]
    assert [stage["layers"][-1] for stage in stages] == ["block1_2", "block2_2", "head"]
    assert len({stage["control_ip"] for stage in stages}) == 3

    server, ue = accordion.jobs
    assert server.service and not ue.service
    (estimate,) = server.arguments["estimates"].values()
    # The slower of LTE and fibre, and both round trips.
    assert LinkEstimate(**estimate) == LinkEstimate(rate_mbit=12, rtt_ms=74)
    assert set(plan.modules) == {
        "stage_node.fringe.stage",
        "controller.process",
        "controller.accordion.serving.process",
        "stage_node.accordion.ue.ue",
    }


@pytest.mark.parametrize(
    ("initial_window", "offered"),
    [("default", None), ("path", pytest.approx(2 * 100e6 / 8 * 0.02, rel=0.05))],
)
def test_a_ue_offers_twice_what_its_path_holds_where_the_server_fills_it(
    run: RunDirectory, initial_window: str, offered: float | None
) -> None:
    assignments = [f"accordion.initial_window={initial_window}", "network.links=5g-100"]
    experiment = load_experiment(find_experiment(Path("accordion-download")), assignments)
    (phase,) = plan_run(check_experiment(experiment, "x.yaml"), run).phases
    server, ue = phase.jobs
    assert server.arguments["initial_window"] == initial_window
    assert ue.arguments["receive_window_bytes"] == offered


def test_the_ladder_travels_with_the_run_and_is_measured_once(
    run: RunDirectory, cache: Path, tmp_path: Path
) -> None:
    experiment = load_experiment(find_experiment(Path("demo")))
    plan_run(check_experiment(experiment, "x.yaml"), run)
    (kept,) = (cache / "concertina" / "ladders").iterdir()
    built_at = (kept / "ladder.json").stat().st_mtime_ns
    again = create_run_directory("again", tmp_path / "again")
    plan_run(check_experiment(experiment, "x.yaml"), again)
    assert (kept / "ladder.json").stat().st_mtime_ns == built_at
    table = read_table(run.ladder("pipeline"))
    assert [ladder.after for ladder in table.ladders] == ["block1_2", "block2_2"]
    assert [shown.row_count for shown in ladder_tables(table)] == [
        len(ladder.rungs) for ladder in table.ladders
    ]


@pytest.mark.parametrize("width", [40, 80, 100])
@pytest.mark.parametrize("is_terminal", [True, False])
def test_names_of_rungs_are_whole_however_narrow_the_terminal_and_a_pipe_gets_every_column(
    run: RunDirectory, width: int, is_terminal: bool
) -> None:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=is_terminal, color_system=None
    )
    file = find_experiment(Path("demo"))
    show_ladder(checked_file(file), console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    lines = shown.splitlines()
    for channels in range(1, 16):
        assert any(line.startswith(f" {channels} of 16 channels ") for line in lines)
    has_room = width == 100 or not is_terminal
    assert ("no room for: " in " ".join(map(str.strip, lines))) == (not has_room)
    assert ("kMACs  weights" in shown) == has_room
    if is_terminal:
        assert max(len(line) for line in lines if "\x1b" not in line) <= width


@pytest.mark.parametrize(
    ("assignments", "reason"),
    [
        (
            ["targets={min_accuracy: 1, bandwidth_reduction: 2}"],
            "pipeline.targets.min_accuracy: the uncompressed model reaches only 0.9",
        ),
        (
            ["targets.mechanisms=[zstd]", "targets.bandwidth_reduction=50"],
            "pipeline.targets.bandwidth_reduction: asks for at most ",
        ),
        (
            ["control={bound_ms: 100, duration_s: 5, modes: [99]}"],
            "pipeline.control.modes: no rungs 99; there are ",
        ),
    ],
)
def test_what_the_ladder_shows_to_be_impossible_is_said_with_file_and_field(
    run: RunDirectory, assignments: list[str], reason: str
) -> None:
    file = find_experiment(Path("demo"))
    section = load_experiment(file, [f"pipeline.{each}" for each in assignments])
    assert section.pipeline is not None
    plan = plan_pipelines(check_experiment(section, "x.yaml"))[0]
    with pytest.raises(BadExperimentError) as refused:
        check_measured(plan, str(file))
    assert str(refused.value).startswith(f"{file}: {reason}")
    assert refused.value.exit_status == 2
