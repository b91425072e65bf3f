"""The grid of trainings: every unit once, in the order of seeds, whatever interrupts it."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stage_node.models.checkpoint import read_metadata
from testbed.evidence import grid

QUICK = ["--depth", "8", "--width", "2", "--batch", "128", "--schedule", "one-cycle"]
REPOSITORY = Path(grid.__file__).parents[2]


def started(out, *options):
    """The grid as a process of its own, on one thread a unit."""
    return subprocess.Popen(
        [sys.executable, "-m", "testbed.evidence.grid", str(out), *options],
        cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def finished(out, *options):
    process = started(out, *options)
    said, _ = process.communicate(timeout=200)
    return process.returncode, said


def until(condition):
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("nothing happened")


def test_all_schemes_of_one_seed_come_before_the_next_seed():
    wanted = grid.units(grid.SCHEMES, (1, 2))
    assert list(wanted)[:6] == [
        "resnet-seed1", "coml-05-seed1", "coml-03-seed1", "block-coml-05-seed1",
        "block-coml-03-seed1", "resnet-seed2",
    ]  # fmt: skip
    assert wanted["coml-03-seed1"] == ("--scheme", "coml", "--p-full", "0.3", "--seed", "1")


def test_units_side_by_side_are_trained_once_and_skipped_after(tmp_path):
    asked = ("--schemes", "coml-05", "resnet", "--at-once", "2", "--", *QUICK, "--epochs", "1")
    status, said = finished(tmp_path, *asked)
    assert status == 0, said
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == [
        "coml-05-seed1.safetensors",
        "resnet-seed1.safetensors",
    ]
    command = read_metadata(tmp_path / "resnet-seed1.safetensors")["command"]
    assert "--scheme resnet" in command
    assert "epoch 1/1" in (tmp_path / "coml-05-seed1.log").read_text()
    assert finished(tmp_path, *asked) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_is_interrupted_goes_on_to_the_same_weights(tmp_path, number):
    asked = ("--schemes", "coml-03", "--", *QUICK, "--epochs", "25", "--precision", "bf16")
    state = tmp_path / "out" / "coml-03-seed1.state"
    process = started(tmp_path / "out", *asked)
    until(state.exists)
    os.killpg(process.pid, number)
    process.communicate()
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert state.exists()
    assert not state.with_suffix(".lookup.json").exists()
    for folder in ("out", "through"):
        status, said = finished(tmp_path / folder, *asked)
        assert status == 0, said
    through, resumed = (
        (tmp_path / folder / "coml-03-seed1.safetensors").read_bytes()
        for folder in ("through", "out")
    )
    assert through == resumed
    assert "--precision bf16" in read_metadata(state.with_suffix(".safetensors"))["command"]


def test_a_unit_that_another_process_trains_is_left_to_it(tmp_path):
    with (tmp_path / "resnet-seed1.log").open("ab") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        status, said = finished(tmp_path, "--schemes", "resnet", "--", *QUICK, "--epochs", "1")
    assert status == 2
    assert said.endswith("resnet-seed1.log: another process is training this unit\n")


def test_a_unit_that_fails_is_named_and_the_others_go_on(tmp_path):
    (tmp_path / "resnet-seed1.state").write_bytes(b"of something else")
    options = ("--schemes", "resnet", "coml-05", "--", *QUICK, "--epochs", "1")
    status, said = finished(tmp_path, *options)
    assert status == 1
    assert "resnet-seed1: failed with status 2, see its log" in said
    assert "coml-05-seed1: finished" in said
    assert "or damaged; remove it" in (tmp_path / "resnet-seed1.log").read_text()


def test_a_folder_with_a_grid_of_other_options_is_refused(tmp_path):
    grid.claim(tmp_path, ["--epochs", "1"])
    status, said = finished(tmp_path, "--", "--epochs", "2")
    assert status == 2
    assert "holds a grid with other options" in said
    assert said.count("\n") == 1
