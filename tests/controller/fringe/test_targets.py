"""The control options of the loop."""

import pytest
from pydantic import ValidationError

from controller.fringe.targets import AutomaticControl, FringeTargets, check_goal


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"bandwidth_reduction": 2}, "one of min_accuracy and max_accuracy_loss_points"),
        (
            {"min_accuracy": 0.9, "max_accuracy_loss_points": 1, "bandwidth_reduction": 2},
            "one of min_accuracy and max_accuracy_loss_points",
        ),
        (
            {"min_accuracy": 0.9, "bandwidth_reduction": 2, "max_bytes_per_inference": 100},
            "one of bandwidth_reduction and max_bytes_per_inference",
        ),
        ({"min_accuracy": 97, "bandwidth_reduction": 2}, "less than or equal to 1"),
        ({"min_accuracy": 0.9, "bandwidth_reduction": 0.5}, "greater than or equal to 1"),
        ({"min_accuracy": 0.9, "max_latency_ms": 0}, "greater than 0"),
        ({"min_accuracy": 0.9, "max_latency_ms": 5, "step_ratio": 1}, "less than 1"),
        ({"min_accuracy": 0.9, "max_latency": 5}, "Extra inputs are not permitted"),
    ],
)
def test_contradictory_or_impossible_options_are_refused(
    fields: dict[str, float], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        FringeTargets(**fields)


def test_the_loop_needs_a_goal_and_control_has_its_bound() -> None:
    floor = FringeTargets(min_accuracy=0.9)
    with pytest.raises(ValueError, match="targets: nothing to reach: give bandwidth_reduction"):
        check_goal(floor, None)
    check_goal(floor, AutomaticControl(bound_ms=100, duration_s=10))
    check_goal(FringeTargets(min_accuracy=0.9, max_latency_ms=5), None)


def test_the_byte_budget_is_a_factor_of_the_uncompressed_pipeline_or_absolute() -> None:
    relative = FringeTargets(min_accuracy=0.9, bandwidth_reduction=4)
    absolute = FringeTargets(min_accuracy=0.9, max_bytes_per_inference=300)
    latency_only = FringeTargets(min_accuracy=0.9, max_latency_ms=5)
    assert relative.byte_budget(1000.0) == 250.0
    assert absolute.byte_budget(1000.0) == 300.0
    assert latency_only.byte_budget(1000.0) is None
