"""What is refused before anything starts."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from controller.errors import BadTargetsError
from controller.ladder import width_ladder
from controller.partition import split_after
from controller.plan import PipelinePlan, check_targets, ladders_of
from controller.targets import FringeTargets
from stage_node.models import ModelSpec, build_model

LADDERS = (width_ladder((16, 8, 8)), width_ladder((32, 4, 4)))  # 6144 bytes, at least 320


def a_plan(**changes: Any) -> dict[str, Any]:
    return {
        "checkpoint": Path("model.safetensors"),
        "dataset": "digits",
        "stages": [
            {"name": "ue", "layers": ["stem"], "control_ip": "10.1.0.1", "control_port": 1},
            {
                "name": "edge",
                "layers": ["head"],
                "control_ip": "10.1.0.2",
                "control_port": 1,
                "listen_ip": "10.0.0.2",
            },
        ],
        "batch": 8,
        "window": 4,
        "calibration_images": 100,
        "measured_images": 100,
        "targets": {"min_accuracy": 0.9, "bandwidth_reduction": 2},
        **changes,
    }


def test_a_plan_knows_its_partition() -> None:
    assert PipelinePlan.model_validate(a_plan()).partition.cuts == ("stem",)


def test_a_stage_that_the_one_before_cannot_reach_is_refused() -> None:
    stages = a_plan()["stages"]
    del stages[1]["listen_ip"]
    with pytest.raises(ValidationError, match="stage edge has no listen_ip"):
        PipelinePlan.model_validate(a_plan(stages=stages))


def test_one_stage_has_nothing_to_compress_and_is_refused() -> None:
    with pytest.raises(ValidationError, match="stages"):
        PipelinePlan.model_validate(a_plan(stages=a_plan()["stages"][:1]))


def test_the_ladders_follow_the_shapes_at_the_cuts() -> None:
    spec = ModelSpec(depth=8, width=4, classes=10, in_channels=1, image_size=8)
    model = build_model(spec).eval()
    ladders = ladders_of(model, split_after(model.layer_names, ["stem", "block2_0"]))
    assert [ladder.rungs[0].payload_bytes for ladder in ladders] == [4 * 8 * 8 * 4, 8 * 4 * 4 * 4]


@pytest.mark.parametrize(
    ("target", "possible"),
    [
        ({"bandwidth_reduction": 19.2}, True),
        ({"bandwidth_reduction": 19.3}, False),
        ({"max_bytes_per_inference": 320}, True),
        ({"max_bytes_per_inference": 319}, False),
        ({"max_latency_ms": 0.001}, True),  # only a measurement can tell
    ],
)
def test_a_byte_target_below_the_strongest_rungs_is_refused(
    target: dict[str, float], possible: bool
) -> None:
    targets = FringeTargets(min_accuracy=0.9, **target)
    if possible:
        check_targets(LADDERS, targets)
    else:
        with pytest.raises(BadTargetsError, match=f"{next(iter(target))}: .* is 320 .* of 19.2"):
            check_targets(LADDERS, targets)
