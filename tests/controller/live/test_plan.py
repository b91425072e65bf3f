"""What is refused before anything starts."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from controller.errors import BadTargetsError
from controller.fringe.targets import FringeTargets
from controller.ladder.ladder import Ladder, LadderRung, LadderTable, ModuleFile
from controller.ladder.work_cost import Cost
from controller.live.plan import PipelinePlan, check_ladder, check_modules, check_targets
from controller.split.partition import split_after
from stage_node.errors import BadModelError
from stage_node.models import ChainModel, ModelSpec, build_model
from stage_node.wire.rung import UNCOMPRESSED, Rung

MODEL = build_model(ModelSpec(depth=8, width=16, classes=10, in_channels=1, image_size=8)).eval()
PARTITION = split_after(MODEL.layer_names, ["block1_0", "block2_0"])
# (16, 8, 8) and (32, 4, 4): 6144 bytes, at least 320 in one channel each


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
        check_targets(MODEL, PARTITION, targets)
    else:
        with pytest.raises(BadTargetsError, match=f"{next(iter(target))}: .* is 320 .* of 19.2"):
            check_targets(MODEL, PARTITION, targets)


def test_what_is_impossible_depends_on_the_mechanisms() -> None:
    def check(*mechanisms: str) -> None:
        targets = FringeTargets(
            min_accuracy=0.9,
            max_bytes_per_inference=30,
            mechanisms=mechanisms,  # type: ignore[arg-type]
        )
        check_targets(MODEL, PARTITION, targets)

    check("width", "quantise")  # one channel of 2 bits: 16 + 4
    check("zstd")  # only a measurement can tell
    with pytest.raises(BadTargetsError, match="quantise can do at every cut is 384 "):
        check("quantise")


CHAIN = build_model(
    ModelSpec(family="vgg", depth=8, width=16, classes=10, in_channels=1, image_size=8,
              downsample="max")
).eval()  # fmt: skip


def test_channels_alone_are_refused_where_the_fringe_layers_are_no_plain_chain() -> None:
    def check(
        model: ChainModel, after: list[str], *mechanisms: str, fringe_layers: int = 1
    ) -> None:
        targets = FringeTargets(
            min_accuracy=0.9,
            max_bytes_per_inference=70,  # one channel of 8 bits: 64
            mechanisms=mechanisms,  # type: ignore[arg-type]
            fringe_layers=fringe_layers,
        )
        check_targets(model, split_after(model.layer_names, after), targets)

    with pytest.raises(BadTargetsError, match=r"block1_0 \| block2_0\) are no plain.*: use width"):
        check(MODEL, ["block1_0"], "channels")
    check(MODEL, ["block1_0"], "channels", "width", "quantise")
    check(CHAIN, ["conv1_0"], "channels", "quantise")
    with pytest.raises(BadTargetsError, match="channels can do at every cut is 256 "):
        check(CHAIN, ["conv1_0"], "channels")
    # pooling lets channels through to a layer that is then to be sliced: it has to be fringe too
    with pytest.raises(BadTargetsError, match=r"conv1_1 \| pool2\) are no plain chain"):
        check(CHAIN, ["conv1_1"], "channels")
    check(CHAIN, ["conv1_1"], "channels", "quantise", fringe_layers=2)


def test_single_weights_alone_reduce_no_bytes_and_that_is_said_before_the_run() -> None:
    targets = FringeTargets(min_accuracy=0.9, bandwidth_reduction=2, mechanisms=("weights",))
    with pytest.raises(BadTargetsError, match=r"weights can do .* is 6144 .* a factor of 1\.0"):
        check_targets(MODEL, PARTITION, targets)


def test_fringe_layers_that_are_not_there_are_refused() -> None:
    targets = FringeTargets(min_accuracy=0.9, max_latency_ms=1, fringe_layers=2)
    with pytest.raises(BadTargetsError, match="fringe_layers: 2 on each side"):
        check_targets(MODEL, PARTITION, targets)


def table(**changes: Any) -> LadderTable:
    rungs = [
        LadderRung(rung=UNCOMPRESSED, payload_bytes=100, accuracy=0.95),
        LadderRung(rung=Rung(name="all zeros", bits=2), payload_bytes=10, accuracy=0.1),
    ]
    ladder = Ladder(after="stem", shape=(1, 5, 5), considered=2, rungs=tuple(rungs))
    fields = {
        "key": "",
        "dataset": "digits",
        "stages": (("stem",), ("head",)),
        "mechanisms": ("quantise",),
        "calibration_images": 10,
        "validation_images": 300,
        "batch": 8,
        "ladders": (ladder, ladder),
        "cost": Cost(duration_s=1, cpu_s=1, peak_memory_mib=1),
    }
    return LadderTable.model_validate(fields | changes)


def test_a_target_below_the_measured_strongest_rung_is_refused() -> None:
    check_ladder(table(), FringeTargets(min_accuracy=0.9, bandwidth_reduction=10))
    with pytest.raises(BadTargetsError, match=r"at most 18\.2 bytes .* is 20 .* a factor of 10"):
        check_ladder(table(), FringeTargets(min_accuracy=0.9, bandwidth_reduction=11))


def test_a_floor_that_the_model_itself_misses_is_refused() -> None:
    targets = FringeTargets(min_accuracy=0.96, bandwidth_reduction=2)
    with pytest.raises(BadTargetsError, match=r"min_accuracy: .* only 0\.9500 of the 0\.9600"):
        check_ladder(table(), targets)


def test_modules_and_the_mechanism_that_uses_them_come_together() -> None:
    module = ModuleFile(name="b", after="block1_0", file="/nowhere/b.safetensors")

    def check(mechanism: str, *modules: ModuleFile) -> None:
        targets = FringeTargets.model_validate(
            {"min_accuracy": 0.9, "bandwidth_reduction": 2, "mechanisms": [mechanism]}
        )
        check_modules(MODEL, PARTITION, targets, modules)

    check("width")
    with pytest.raises(BadTargetsError, match="needs modules"):
        check("distill")
    with pytest.raises(BadTargetsError, match="distill is not among"):
        check("width", module)
    with pytest.raises(BadModelError, match="no such bottleneck"):
        check("distill", module)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"mechanisms": []}, "mechanisms"),
        ({"mechanisms": ["width", "width"]}, "name each mechanism once"),
        ({"mechanisms": ["pruning"]}, "mechanisms"),
        ({"fringe_layers": 0}, "fringe_layers"),
    ],
)
def test_controls_that_make_no_sense_are_refused(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        FringeTargets.model_validate({"min_accuracy": 0.9, "max_latency_ms": 5} | wrong)
