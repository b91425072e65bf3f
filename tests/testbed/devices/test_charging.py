"""What stages and UEs are charged: the table's times, by speed and by share."""

import json
from pathlib import Path

import pytest

from controller.ladder.ladder import Ladder, LadderRung
from controller.live.plan import PipelinePlan, StagePlan
from controller.split.compute_table import Column, ComputeTable
from stage_node.processes.charges import UnknownChargeError
from stage_node.records.vocabulary import ClockKind
from stage_node.wire.rung import UNCOMPRESSED, Rung
from testbed.devices.charging import stage_charges
from testbed.devices.computing import Computing, HostDevice
from testbed.devices.profiles import DeviceProfile
from testbed.experiment.file import load_experiment
from testbed.planning.checked import check_experiment, checked_file
from testbed.planning.processes import plan_pipelines, plan_run
from testbed.run.directory import create_run_directory

NARROW = Rung.of(16, width=4)


def table(scale: float = 1.0, sizes: tuple[int, ...] = (1, 9)) -> ComputeTable:
    return ComputeTable(
        model="m",
        checkpoint_sha256="cafe",
        columns=tuple(
            Column(
                images=images,
                cpu_model="c",
                torch_version="2",
                measured="2026-11-30",
                layer_ms={"a": scale * images, "b": scale * 2.0, "c": scale},
            )
            for images in sizes
        ),
    )


LADDER = Ladder(
    after="b", shape=(16, 4, 4), considered=2,
    rungs=tuple(
        LadderRung(rung=rung, payload_bytes=1, accuracy=1, encode_ms=0.4, decode_ms=0.2)
        for rung in (UNCOMPRESSED, NARROW)
    ),
)  # fmt: skip
STAGE = StagePlan(name="h", layers=("a", "b"), control_ip="", control_port=1)


def charges(profile: DeviceProfile, share: float = 1.0):
    device = HostDevice(profile=profile, cpu_share=share)
    computing = Computing(declared=True, devices={"h": device}, tables=(table(),))
    return stage_charges(STAGE, "cafe", 9, computing, LADDER, LADDER)


def device(speed: float) -> DeviceProfile:
    return DeviceProfile(name="d", source="s", speed=speed)


@pytest.mark.parametrize(("speed", "share"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.25), (2.0, 0.1)])
def test_speed_and_share_divide(speed: float, share: float) -> None:
    charged = charges(device(speed), share)
    assert charged.of_forward(1) == pytest.approx(3.0 / speed / share)
    assert charged.of_forward(9) == pytest.approx(11.0 / speed / share)
    assert charged.of_forward(5) == pytest.approx(7.0 / speed / share)
    assert charged.of_encoding(NARROW, 3) == pytest.approx(3 * 0.4 / speed / share)
    assert charged.of_decoding(UNCOMPRESSED, 3) == pytest.approx(3 * 0.2 / speed / share)


def test_an_instant_device_is_charged_nothing_and_knows_no_more_than_others() -> None:
    charged = charges(device(float("inf")))
    assert charged.of_forward(9) == charged.of_encoding(NARROW, 9) == 0.0
    with pytest.raises(UnknownChargeError):
        charged.of_forward(10)


def test_a_measured_device_takes_its_own_times_and_codes_in_proportion() -> None:
    own = DeviceProfile(name="mine", source="s", tables=(table(scale=4.0, sizes=(1, 16)),))
    charged = charges(own, 0.5)
    assert charged.of_forward(1) == pytest.approx(4 * 3.0 / 0.5)
    assert charged.of_forward(16) == pytest.approx(4 * 18.0 / 0.5)
    assert charged.of_encoding(NARROW, 1) == pytest.approx(0.4 * 4 / 0.5)


def test_computing_survives_the_way_into_the_run_directory() -> None:
    devices = {
        "a": HostDevice(profile=device(float("inf")), cpu_share=0.5),
        "b": HostDevice(profile=DeviceProfile(name="m", source="s", tables=(table(),))),
    }
    computing = Computing(declared=False, devices=devices, tables=(table(),))
    assert Computing.model_validate_json(computing.model_dump_json()) == computing
    with pytest.raises(UnknownChargeError):
        computing.table("beef")


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Plans the demo with some of it changed, in a run directory of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = Path("testbed/experiments/demo.yaml").resolve()

    def plan(*assignments: str, clock: ClockKind = "virtual"):
        run = create_run_directory("x", tmp_path / f"run{len(list(tmp_path.iterdir()))}")
        return run, plan_run(checked_file(file, list(assignments)), run, clock)

    return plan


def test_a_run_is_planned_with_its_charges_and_without(demo) -> None:
    run, plan = demo("network.cpu_share={edge: 0.5}")
    pipeline, delivery = plan.phases
    arguments = pipeline.jobs[-1].arguments["plan"]
    stages = {stage.name: stage.charges for stage in PipelinePlan.model_validate(arguments).stages}
    computing = Computing.model_validate_json(run.computing.read_text())
    assert computing.declared and set(computing.devices) == {"ue1", "edge", "cloud"}
    assert set(stages["cloud"].forward_ms) == {1, 10}
    assert not stages["ue1"].decode_ms and not stages["cloud"].encode_ms
    assert UNCOMPRESSED.name in stages["ue1"].encode_ms
    assert stages["ue1"].encode_ms.keys() == stages["edge"].decode_ms.keys()
    ratio = 0.46 / (0.56 * 0.5)  # of the Raspberry Pi 4 to half a Jetson
    for rung, ms in stages["ue1"].encode_ms.items():
        ladder = json.loads((run.ladder("pipeline") / "ladder.json").read_text())["ladders"][0]
        (known,) = [each for each in ladder["rungs"] if each["rung"]["name"] == rung]
        assert ms == pytest.approx(known["encode_ms"] / 0.46)
        assert stages["edge"].decode_ms[rung] == pytest.approx(known["decode_ms"] / 0.46 * ratio)
    inference_ms = delivery.jobs[-1].arguments["inference_ms"]
    assert inference_ms["3-3-3"] > inference_ms["1-0-0"] > 0

    run, plan = demo(clock="real")
    assert not run.computing.exists()
    uncharged = PipelinePlan.model_validate(plan.phases[0].jobs[-1].arguments["plan"])
    assert all(stage.charges is None for stage in uncharged.stages)
    assert plan.phases[1].jobs[-1].arguments["inference_ms"] is None


def test_without_the_section_every_host_is_a_server_core(demo) -> None:
    run, _ = demo("devices=null")
    computing = Computing.model_validate_json(run.computing.read_text())
    assert not computing.declared
    assert {each.profile.name for each in computing.devices.values()} == {"server-core"}


def test_the_automatic_split_reckons_with_the_devices(demo) -> None:
    file = Path("testbed/experiments/demo.yaml")
    sets = ["pipeline.split=auto", "network.cpu_share={edge: 0.5}", "pipeline.speeds={cloud: 3}"]
    experiment = load_experiment(file, sets)
    (plan,) = plan_pipelines(check_experiment(experiment, "x.yaml"))
    assert plan.placement
    assert [each.speed for each in plan.placement.costs.devices] == [0.46, 0.56 * 0.5, 3]
    instant = load_experiment(file, [*sets, "devices={ue1: instant, edge: phone, cloud: phone}"])
    (plan,) = plan_pipelines(check_experiment(instant, "x.yaml"))
    assert PipelinePlan.model_validate_json(plan.model_dump_json()) == plan
