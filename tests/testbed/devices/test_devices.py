"""Devices: a catalogue with sources, files of one's own, and what experiments say of hosts."""

import json
import math
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from controller.split.compute_table import Column, ComputeTable, content_sha256
from testbed.devices.listing import show_devices
from testbed.devices.measuring import profile_fields
from testbed.devices.profiles import device_catalogue, load_device
from testbed.errors import BadExperimentError
from testbed.experiment.file import load_experiment, validate_experiment
from testbed.experiment.named_models import checkpoint_path
from testbed.planning.checked import check_experiment
from topologies.errors import BadTopologyError

WANTED = {
    *("raspberry-pi-4", "raspberry-pi-5", "phone", "jetson", "laptop", "server-core", "instant"),
}
MODEL = "digits-resnet20"
LAYERS = (
    "stem", *(f"block{inner}_{number}" for inner in (1, 2, 3) for number in (0, 1, 2)), "head",
)  # fmt: skip
GOOD = {
    "name": "t",
    "network": {"shape": "chain", "hosts": ["h1", "h2", "h3"], "links": "lte"},
    "devices": {"h1": "raspberry-pi-4", "h2": {"speed": 0.5}},
    "pipeline": {
        "model": MODEL,
        "hosts": ["h1", "h2"],
        "split": {"after": ["block1_2"]},
        "batch": 10,
        "targets": {"max_accuracy_loss_points": 1, "bandwidth_reduction": 2},
    },
}


def own_table(images: tuple[int, ...], layers: tuple[str, ...] = LAYERS) -> ComputeTable:
    return ComputeTable(
        model=MODEL,
        checkpoint_sha256=content_sha256(checkpoint_path(MODEL)),
        columns=tuple(
            Column(
                images=each,
                cpu_model="an Arm",
                torch_version="2",
                measured="2026-11-30",
                layer_ms=dict.fromkeys(layers, float(each)),
            )
            for each in images
        ),
    )


def my_pi(folder: Path, *tables: ComputeTable) -> Path:
    file = folder / "my-pi.yaml"
    file.write_text(yaml.safe_dump({"my-pi": profile_fields(tables)}, sort_keys=False))
    return file


def experiment(devices: object, **pipeline: object) -> dict:
    return GOOD | {"devices": devices, "pipeline": GOOD["pipeline"] | pipeline}


def complaint(raw: dict) -> str:
    with pytest.raises(BadExperimentError) as error:
        check_experiment(validate_experiment(raw, "x.yaml"), "x.yaml")
    assert error.value.exit_status == 2
    (line,) = str(error.value).splitlines()
    return line


def test_the_catalogue_has_every_device_with_its_source() -> None:
    assert set(device_catalogue()) == WANTED
    for device in device_catalogue().values():
        assert device.source and device.speed
    assert device_catalogue()["server-core"].speed == 1
    assert device_catalogue()["instant"].speed == math.inf


def test_speeds_are_the_quotient_of_the_two_figures_that_their_source_gives() -> None:
    for name in WANTED - {"server-core", "instant"}:
        device = device_catalogue()[name]
        mips = [int(word) for word in device.source.replace("\n", " ").split() if word.isdigit()]
        own, core = mips[-2:]
        assert core == 3842
        assert device.speed == pytest.approx(own / core, abs=0.006), name


def test_the_listing_has_a_row_each_and_one_device_in_full(tmp_path: Path) -> None:
    console = Console(width=100, force_terminal=True, no_color=True)
    with console.capture() as captured:
        show_devices(None, console)
        show_devices(f"{my_pi(tmp_path, own_table((1, 16)))}", console)
    text = captured.get()
    assert all(name in text for name in WANTED)
    assert "16 at once" in text and "block3_2" in text and "together" in text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"speed": 1, "source": "s", "colour": "red"}, "colour: unknown field"),
        ({"speed": 0, "source": "s"}, "speed: input should be greater than 0"),
        ({"speed": 1}, "source: missing"),
        ({"source": "s"}, "give speed, or tables"),
        ({"source": "s", "speed": 1, "tables": [own_table((1,)).model_dump()]}, "give speed, or"),
    ],
)
def test_a_device_that_is_none_is_one_line_with_file_and_field(
    tmp_path: Path, fields: dict, said: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"mine": fields}))
    for reference in (f"{file}", f"{file}:mine"):
        with pytest.raises(BadTopologyError) as error:
            load_device(reference)
        assert len(str(error.value).splitlines()) == 1
        assert str(error.value).startswith(f"{file}: device mine: ") and said in str(error.value)


def test_a_file_with_several_devices_must_say_which(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({n: {"speed": 1, "source": "s"} for n in ("a", "b")}))
    assert load_device(f"{file}:b").name == "b"
    with pytest.raises(BadTopologyError, match="say which: a, b"):
        load_device(str(file))


def test_a_good_section_is_good(tmp_path: Path) -> None:
    check_experiment(validate_experiment(GOOD, "x.yaml"), "x.yaml")
    file = my_pi(tmp_path, own_table((1, 10)))
    check_experiment(validate_experiment(experiment({"h1": f"{file}", "h2": "phone"}), "x"), "x")


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        ({"h1": "phone", "h2": "phone", "h9": "phone"}, "devices.h9: no such host in the network"),
        ({"h1": "phone"}, "devices: 'h2' computes and has no device"),
        ({"h1": "raspberry-pi-6", "h2": "phone"}, "devices.h1: device 'raspberry-pi-6' is not"),
        ({"h1": {"speed": 0}, "h2": "phone"}, "devices.h1.speed: input should be greater than 0"),
        ({"h1": {"speed": "fast"}, "h2": "phone"}, "devices.h1.speed: "),
        ({"h1": {"cores": 2}, "h2": "phone"}, "devices.h1.cores: unknown field"),
        ({"h1": {}, "h2": "phone"}, "devices.h1: give a device of the catalogue"),
        ({"h1": "nowhere.yaml", "h2": "phone"}, "devices.h1: nowhere.yaml: cannot be read"),
        ("phone", "devices: "),
    ],
)
def test_a_mistake_is_one_line_with_its_field(devices: object, said: str) -> None:
    assert said in complaint(experiment(devices))


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ([own_table((1, 16))], None),
        ([own_table((1, 4))], "my-pi's table of digits-resnet20 lacks batches of 1 to 10 images"),
        ([own_table((10,))], "lacks batches of 1 to 10 images (it has 10)"),
        ([own_table((1, 10), LAYERS[:-1])], "lacks layer head"),
        (
            [own_table((1, 10)).model_copy(update={"checkpoint_sha256": "0", "model": "other"})],
            "my-pi measured other, not digits-resnet20: `concertina device measure",
        ),
    ],
)
def test_a_measured_device_must_know_the_models_layers_and_batch(
    tmp_path: Path, tables: list[ComputeTable], said: str | None
) -> None:
    raw = experiment({"h1": "phone", "h2": f"{my_pi(tmp_path, *tables)}:my-pi"})
    if said is None:
        check_experiment(validate_experiment(raw, "x.yaml"), "x.yaml")
    else:
        line = complaint(raw)
        assert line.startswith("x.yaml: devices.h2: ") and said in line


def test_a_file_of_devices_is_sought_beside_the_experiment(tmp_path: Path) -> None:
    file = my_pi(tmp_path, own_table((1, 10)))
    for reference in ("my-pi.yaml", "my-pi.yaml:my-pi"):
        (tmp_path / "e.yaml").write_text(
            yaml.safe_dump(experiment({"h1": reference, "h2": "phone"}))
        )
        loaded = load_experiment(tmp_path / "e.yaml")
        assert loaded.devices and str(file) in str(loaded.devices["h1"].profile)
        check_experiment(loaded, "e.yaml")
        again = validate_experiment(json.loads(loaded.model_dump_json()), "again")
        assert again.devices == loaded.devices
    loaded = load_experiment(tmp_path / "e.yaml", ["devices.h1=jetson", "devices.h2={speed: 2}"])
    assert loaded.devices and loaded.devices["h2"].speed == 2
