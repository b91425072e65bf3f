"""What the plan tells a process is what that process takes."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from controller.accordion.serving.process import ServerConfiguration
from controller.process import ControllerConfiguration
from stage_node.accordion.ue.ue import UeConfiguration
from stage_node.fringe.stage import StageConfiguration
from stage_node.processes.configuration import BadConfigurationError, ProcessConfiguration
from testbed.planning.plan import Job

KINDS = (StageConfiguration, UeConfiguration, ControllerConfiguration, ServerConfiguration)


def test_these_are_all_processes_of_a_run() -> None:
    assert set(ProcessConfiguration.__subclasses__()) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_entry_of_a_configuration_imports_and_takes_it(
    kind: type[ProcessConfiguration],
) -> None:
    module, function = kind.entry().split(":")
    main = getattr(import_module(module), function)
    assert get_type_hints(main) == {
        "configuration": kind | Mapping[str, Any],
        "return": type(None),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_is_told_nonsense_says_so_in_one_line(
    kind: type[ProcessConfiguration],
) -> None:
    module, function = kind.entry().split(":")
    with pytest.raises(BadConfigurationError, match=f"^{kind.__name__}: ") as caught:
        getattr(import_module(module), function)({"nonsense": 1})
    required = {name for name, field in kind.model_fields.items() if field.is_required()}
    assert all(f"{name}: Field required" in str(caught.value) for name in required)
    assert "nonsense: Extra inputs are not permitted" in str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.exit_status == 2


def test_a_job_is_of_its_configuration() -> None:
    stage = StageConfiguration(
        name="edge",
        control_ip="10.0.0.1",
        control_port=4000,
        ledger_dir=Path("ledger"),
        events_path=Path("events.jsonl"),
    )
    job = Job.of("stage-edge", "edge", stage)
    assert job.entry == "stage_node.fringe.stage:main"
    assert StageConfiguration.parse(job.arguments) == stage
