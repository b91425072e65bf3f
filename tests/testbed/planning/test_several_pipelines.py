"""Several split models and several delivered ones in one experiment: the file, and its plan."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from stage_node.records.run_directory import RunDirectory
from testbed.errors import BadExperimentError
from testbed.experiment.assignment import assign
from testbed.experiment.file import find_experiment, load_experiment, validate_experiment
from testbed.experiment.named_models import checkpoint_path
from testbed.planning.checked import check_experiment
from testbed.planning.plan import RunPlan
from testbed.planning.processes import plan_pipelines, plan_run
from testbed.run.directory import create_run_directory
from testbed.sweep.file import named_files

GOAL = {"max_accuracy_loss_points": 1, "bandwidth_reduction": 2}
CONTROL = {"bound_ms": 100, "duration_s": 5}
GOOD: dict[str, Any] = {
    "name": "several",
    "network": {
        "shape": "star",
        "hosts": ["h1", "h2", "h3", "h4"],
        "links": {"rate_mbit": 10, "delay_ms": 5},
    },
    "pipelines": {
        "a": {
            "model": "digits-resnet20",
            "hosts": ["h1", "h2"],
            "split": {"after": ["block1_2"]},
            "targets": GOAL,
        },
        "b": {
            "model": "digits-vit4",
            "hosts": ["h3", "h4"],
            "split": {"after": ["block2"]},
            "targets": GOAL,
        },
    },
    "accordion": {
        "model": "digits-resnet20-coml",
        "server": "h2",
        "downloads": [{"ue": "h1", "steps": [{"all": True}]}],
    },
}


def changed(*assignments: str) -> dict[str, Any]:
    raw = deepcopy(GOOD)
    for assignment in assignments:
        assign(raw, assignment)
    return raw


def complaint(raw: dict[str, Any]) -> str:
    with pytest.raises(BadExperimentError) as refused:
        check_experiment(validate_experiment(raw, "x.yaml"), "x.yaml")
    assert refused.value.exit_status == 2
    assert all(line.startswith("x.yaml: ") for line in str(refused.value).splitlines())
    return str(refused.value)


@pytest.mark.parametrize("together", [False, True])
def test_what_is_good_passes_and_means_the_same_when_written_and_read_again(
    together: bool,
) -> None:
    experiment = validate_experiment(changed(f"together={together}"), "x.yaml")
    check_experiment(experiment, "x.yaml")
    assert list(experiment.split_models) == ["a", "b"]
    written = yaml.safe_dump(experiment.model_dump(mode="json"))
    assert validate_experiment(yaml.safe_load(written), "again.yaml") == experiment


@pytest.mark.parametrize(
    ("assignments", "reason"),
    [
        (
            ["pipeline={model: digits-vit4, hosts: [h1, h2], split: {stages: 2}, "
             "targets: {max_accuracy_loss_points: 1, bandwidth_reduction: 2}}"],
            "pipeline and pipelines are both there",
        ),
        (["pipelines={}"], "pipelines: dictionary should have at least 1 item"),
        (["pipelines=null", "accordion=null"], "needs a pipeline or an accordion section"),
        (["pipelines=null", "together=true"], "together: needs a pipeline and an accordion"),
        (["accordion=null", "together=true"], "together: needs a pipeline and an accordion"),
        (["pipelines.b.hosts=[h2, h4]"], "pipelines.b.hosts: 'h2' has a stage of 'a'"),
        (["pipelines.b.hosts=[h3, h9]"], "pipelines.b.hosts.1: no host 'h9'"),
        (["pipelines.b.split={after: [block1_2]}"], "pipelines.b.split: "),
        (["pipelines.b.dataset=cifar10"], "pipelines.b.dataset: "),
        (["pipelines.b.colour=red"], "pipelines.b.colour: unknown field"),
        (["pipelines.a.targets.fringe_layers=50"], "pipelines.a.targets.fringe_layers: 50"),
        (
            ["pipelines.a.control={bound_ms: 9, duration_s: 5, modes: [automatic, oracle]}"],
            "pipelines.a.control.modes: the oracle knows the links' traces, not what others send",
        ),
        (
            ["network.links.trace={generate: lte, seed: 1, duration_s: 5}",
             "pipelines.a.control={bound_ms: 9, duration_s: 5}",
             "pipelines.b.control={bound_ms: 9, duration_s: 5}"],
            "pipelines: a, b are under control, each mode of which begins the links' traces anew",
        ),
        (["accordion.downloads.0.model=nothing"], "accordion.downloads.0.model: no checkpoint"),
        (
            ["accordion.downloads.0={ue: h1, model: digits-vit4, steps: [{run: 9-9-9}]}"],
            "accordion.downloads.0.steps.0.run: no configuration of the model",
        ),
        (["accordion.downloads.0.dataset=cifar10"], "accordion.downloads.0.dataset: "),
        (["accordion.model=nothing"], "accordion.model: no checkpoint 'nothing'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_field(assignments: list[str], reason: str) -> None:
    assert reason in complaint(changed(*assignments))


@pytest.mark.parametrize("name", ["a b", "1st", "pipeline", "x" * 25, "a.b", ""])
def test_a_pipeline_has_a_name_that_files_and_processes_can_have(name: str) -> None:
    raw = changed()
    raw["pipelines"][name] = raw["pipelines"].pop("b")
    assert f"pipelines: {name!r} is " in complaint(raw)


def test_one_of_several_may_be_controlled_where_links_vary_and_all_where_they_do_not() -> None:
    control = [f"pipelines.{name}.control={CONTROL}" for name in "ab"]
    varying = "network.links.trace={generate: lte, seed: 1, duration_s: 5}"
    for assignments in (control, [varying, control[0]]):
        check_experiment(validate_experiment(changed(*assignments), "x"), "x")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.setattr(
        "testbed.planning.processes.fetch_ladder", lambda plan, run: run.ladder(plan.name)
    )
    return create_run_directory("x", tmp_path / "run")


def test_pipelines_have_jobs_of_their_own_in_one_phase_and_wait_for_each_other(
    run: RunDirectory,
) -> None:
    plan = plan_run(check_experiment(validate_experiment(changed(), "x"), "x.yaml"), run)
    assert RunPlan.model_validate_json(plan.model_dump_json()) == plan
    pipelines, accordion = plan.phases
    assert (pipelines.name, accordion.name) == ("pipeline", "accordion")
    assert [(job.name, job.host) for job in pipelines.jobs] == [
        ("stage-h1", "h1"), ("stage-h2", "h2"), ("controller-a", "ctl"),
        ("stage-h3", "h3"), ("stage-h4", "h4"), ("controller-b", "ctl"),
    ]  # fmt: skip
    controllers = [job.arguments for job in pipelines.jobs if job.host == "ctl"]
    assert [each["plan"]["company"] for each in controllers] == [["controller-b"], ["controller-a"]]
    assert len({each["table_path"] for each in controllers}) == 2
    assert len({each["plan"]["ladder"] for each in controllers}) == 2
    assert [job.arguments.get("company", []) for job in accordion.jobs] == [[], []]


def test_together_is_one_phase_in_which_deliveries_wait_for_pipelines_and_they_for_them(
    run: RunDirectory,
) -> None:
    (phase,) = plan_run(
        check_experiment(validate_experiment(changed("together=true"), "x"), "x.yaml"), run
    ).phases
    assert phase.name == "together" and not phase.controlled
    by_name = {job.name: job for job in phase.jobs}
    assert by_name["model-server"].service and len(by_name) == 8
    assert by_name["ue-h1"].arguments["company"] == ["controller-a", "controller-b"]
    assert by_name["controller-a"].arguments["plan"]["company"] == ["controller-b", "h1"]


def test_the_only_pipeline_has_no_company_and_the_names_it_always_had(run: RunDirectory) -> None:
    raw = changed()
    raw["pipeline"] = raw.pop("pipelines")["a"]
    experiment = validate_experiment(raw, "x")
    (plan,) = plan_pipelines(check_experiment(experiment, "x.yaml"))
    assert (plan.name, plan.controller, plan.company) == ("pipeline", "controller", ())
    jobs = plan_run(check_experiment(experiment, "x.yaml"), run).phases[0].jobs
    assert jobs[-1].name == "controller"
    assert jobs[-1].arguments["table_path"] == "ladder.json"


def test_a_server_has_the_models_of_all_downloads_wherever_they_lie(
    run: RunDirectory, tmp_path: Path
) -> None:
    shipped = checkpoint_path("digits-resnet20-coml")
    other = tmp_path / "models" / "mine.safetensors"
    other.parent.mkdir()
    other.write_bytes(shipped.read_bytes())
    raw = changed()
    raw["accordion"]["downloads"].append(
        {"ue": "h3", "model": "models/mine.safetensors", "steps": [{"all": True}]}
    )
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump(raw))
    experiment = load_experiment(file)
    check_experiment(experiment, "x.yaml")
    server, first, second = plan_run(check_experiment(experiment, "x.yaml"), run).phases[1].jobs
    copies = [Path(name) for name in server.arguments["checkpoints"]]
    assert copies == [Path("models", file.name) for file in (shipped, other)]
    assert [(run.path / copy).read_bytes() for copy in copies] == [shipped.read_bytes()] * 2
    assert (first.arguments["model"], second.arguments["model"]) == (shipped.stem, "mine")
    assert {shipped, other} <= set(named_files(experiment))

    other.rename(other.with_name(shipped.name))
    raw["accordion"]["downloads"][1]["model"] = str(other.with_name(shipped.name))
    assert f"x.yaml: accordion: two models are called {shipped.stem}: {shipped} and" in complaint(
        raw
    )


def test_the_shipped_one_is_planned_whole(run: RunDirectory) -> None:
    experiment = load_experiment(find_experiment(Path("shared-backhaul")))
    check_experiment(experiment, "shared-backhaul.yaml")
    (phase,) = plan_run(check_experiment(experiment, "x.yaml"), run).phases
    assert {job.host for job in phase.jobs} == {"car", "bus", "phone", "north", "south", "ctl"}
