"""``concertina train``, ``lut`` and ``variant``: what a person types, and what lies there then."""

import os
import subprocess
import sys

import pytest
import torch

from controller.accordion.lookup import read_table, table_path
from controller.accordion.training.checkpoint import Training
from controller.accordion.training.iterations import Recipe
from stage_node.accordion.prefix import PrefixReader
from stage_node.errors import BadModelError
from stage_node.models import load_checkpoint
from stage_node.models.checkpoint import read_metadata
from stage_node.repository import REPOSITORY
from testbed.commands import cli
from tests.testbed.learning.tensorboard_events import scalars

QUICK = ("--depth", "8", "--width", "2", "--epochs", "1", "--batch", "128")


@pytest.fixture
def typed(monkeypatch, capsys):
    """Types a command; its exit status, and what it said."""
    monkeypatch.setenv("COLUMNS", "200")

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["concertina", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return command


@pytest.fixture
def tiny(tmp_path, typed):
    path = tmp_path / "tiny.safetensors"
    assert typed("train", *QUICK, path)[0] == 0
    return path


@pytest.mark.parametrize(
    "more",
    [
        ("--scheme", "coml"),
        ("--scheme", "block-coml", "--p-full", "0.3"),
        ("--scheme", "resnet", "--schedule", "cosine"),
        ("--rungs", "1-0-0", "--rungs", "1-1-1"),
        ("--links", "0.1:2", "--links", "10:1", "--deadline-ms", "300"),
        ("--family", "vgg", "--depth", "5"),
    ],
    ids=lambda more: " ".join(more),
)
def test_a_checkpoint_runs_by_prefix_and_names_the_command_that_repeats_it(tmp_path, typed, more):
    path = tmp_path / "tiny.safetensors"
    status, out, err = typed("train", *QUICK, *more, path)
    assert status == 0, err
    table = read_table(path)
    assert "epoch 1/1" in out
    assert f"{table.entries[-1].accuracy:.2%}" in out
    reader = PrefixReader()
    assert reader.feed(path.read_bytes()) == tuple(e.configuration for e in table.entries)
    assert table.entries[-1].macs == sum(load_checkpoint(path).macs().values())
    assert table.entries[-1].end_byte == path.stat().st_size
    assert not path.with_suffix(".state").exists()
    program, *words, name = read_metadata(path)["command"].split()
    assert (program, name) == ("concertina", "tiny.safetensors")
    copy = tmp_path / "again" / "tiny.safetensors"
    assert typed(*words, copy)[0] == 0
    assert copy.read_bytes() == path.read_bytes()


def test_which_configurations_are_drawn_and_which_never_is_told_first(tmp_path, typed):
    rungs = ("--rungs", "1-0-0", "--rungs", "1-1-0", "--rungs", "1-1-1")
    links = ("--links", "0.15:3", "--links", "100:1", "--deadline-ms", "300")
    _, out, err = typed("train", *QUICK, *rungs, *links, tmp_path / "tiny.safetensors")
    assert "drawn: 1-0-0 75.0%, 1-1-1 25.0%; never 1-1-0\n" in out, err
    assert out.index("drawn: ") < out.index("epoch 1/1")


def test_performance_criterion_by_the_table_of_an_earlier_training(tmp_path, typed, tiny):
    path = tmp_path / "second.safetensors"
    wanted = ("--required", "0.01:1", "--lookup", table_path(tiny))
    status, _, err = typed("train", *QUICK, *wanted, path)
    assert status == 0, err
    # Only the smallest configuration was ever asked for, and so trained.
    first, second = (load_checkpoint(file).state_dict() for file in (tiny, path))
    fresh = [name for name in second if "block3" in name and "running_mean" in name]
    assert all(not second[name].any() for name in fresh)
    assert any(first[name].any() for name in fresh)


def test_a_start_and_a_teacher(tmp_path, typed, tiny):
    path = tmp_path / "student.safetensors"
    more = ("--start", tiny, "--teacher", tiny, "--learning-rate", "0", "--scheme", "resnet")
    assert typed("train", *QUICK, *more, path)[0] == 0
    before, after = (load_checkpoint(file).state_dict() for file in (tiny, path))
    assert all(torch.equal(before[n], after[n]) for n in before if "running" not in n)


def test_the_command_names_files_and_no_folder_of_this_machine(tmp_path):
    training = Training(start=tmp_path / "a.th", recipe=Recipe(epochs=1))
    assert str(tmp_path) not in training.command(tmp_path / "b.safetensors")
    assert "--start a.th" in training.command(tmp_path / "b.safetensors")


def test_tensorboard_reads_the_logs(tmp_path, typed):
    logs = tmp_path / "logs"
    quick = ("--depth", "8", "--width", "1", "--epochs", "3", "--batch", "128")
    assert typed("train", *quick, "--logs", logs, tmp_path / "x.safetensors")[0] == 0
    values = scalars(logs)
    assert [step for step, _ in values["loss/train"]] == [1, 2, 3]
    table = read_table(tmp_path / "x.safetensors")
    assert values["accuracy/validation"][-1][1] == pytest.approx(table.entries[-1].accuracy)


def test_two_processes_under_torchrun_train_one_network(tmp_path, typed):
    path, start = tmp_path / "two.safetensors", tmp_path / "start.safetensors"
    quick = ("--depth", "8", "--width", "2", "--epochs", "1", "--batch", "512")
    assert typed("train", *quick, start)[0] == 0
    run = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
            "--master-port", "29617", "-m", "--", "testbed", "train", "--device", "cpu",
            "--depth", "8", "--width", "2", "--epochs", "2", "--start", str(start), str(path),
        ],
        cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("epoch 2/2") == 1
    assert read_table(path).entries[-1].accuracy > 0.12


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--depth", "21"), "6n + 2"),
        (("--scheme", "sandwich"), "none of resnet, coml, block-coml"),
        (("--rungs", "1-x"), "no configuration"),
        (("--rungs", "1-1-1", "--rungs", "1-0-0"), "--rungs: each configuration holds the one "),
        (("--rungs", "9-9-9"), "--rungs: configuration 9-9-9 does not fit"),
        (("--downsample", "mean"), "--downsample: Input should be 'option-a', 'max' or 'pool'"),
        (("--downsample", "max"), "a ResNet's downsample is option-a or pool"),
        (("--links", "20:0.5"), "--links and --deadline-ms make a criterion only together"),
        (("--links", "lte-7:0.5", "--deadline-ms", "3"), "--links: profile 'lte-7' is not known; "),
        (("--links", "nowhere.yaml:barn:1", "--deadline-ms", "3"), "--links: nowhere.yaml: cannot"),
        (("--links", "5:much", "--deadline-ms", "3"), "--links: 'much' is no number"),
        (("--links", "1:1", "--deadline-ms", "0.001"), "no throughput carries"),
        (("--required", "0.5:1"), "--required needs --lookup, the look-up table"),
        (("--option", "patch"), "is not A=B"),
        (("--start", "nowhere.safetensors"), "--start: no checkpoint 'nowhere.safetensors'"),
        (("--start", "digits-resnet20"), "--start: only one of the two networks"),
        (("--teacher", "nowhere"), "--teacher: no checkpoint 'nowhere'"),
        (("--teacher", "resnet56-cifar10"), "--teacher: its in_channels is 3, that of the data 1"),
        (("--epochs", "0"), "--epochs 0 and no --start: nothing is learned"),
        (("--frozen-blocks", "1"), "--frozen-blocks: only blocks of a trained network, --start"),
        (("--family", "alexnet"), "unknown model family"),
        (("--device", "cuda"), "no CUDA device"),
    ],
    ids=lambda wrong: " ".join(wrong) if isinstance(wrong, tuple) else "",
)
def test_what_makes_no_sense_is_one_line_and_status_2(tmp_path, typed, wrong, message):
    status, _, err = typed("train", *QUICK[:0], "--depth", "8", "--epochs", "1", *wrong,
                           tmp_path / "x.safetensors")  # fmt: skip
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "x.safetensors").exists()


def test_the_look_up_table_is_shown_and_belongs_to_its_file(typed, tiny):
    status, out, _ = typed("lut", tiny)
    assert status == 0
    for entry in read_table(tiny).entries:
        assert f"{entry.end_byte:,}" in out
    assert typed("lut", "digits-resnet20-coml")[0] == 0
    whole = tiny.read_bytes()
    tiny.write_bytes(whole[:-4] + bytes(4))
    with pytest.raises(BadModelError, match="another version"):
        read_table(tiny)
    status, _, err = typed("lut", tiny)
    assert (status, err.count("\n")) == (2, 1)
    tiny.write_bytes(whole[:-9])
    status, _, err = typed("lut", tiny)
    assert (status, err.count("\n")) == (2, 1)
    assert "look-up" not in err  # the checkpoint itself is at fault
    tiny.write_bytes(whole)
    table_path(tiny).write_text('{"samples": -1}')
    status, _, err = typed("lut", tiny)
    assert (status, err.count("\n")) == (2, 1)
    assert "no look-up table: checkpoint_sha256: Field required" in err
    table_path(tiny).unlink()
    status, _, err = typed("lut", tiny)
    assert status == 2
    assert "no look-up table" in err


@pytest.mark.parametrize(
    ("out", "message"),
    [("x.txt", "ends in .safetensors"), ("tiny.txt/x.safetensors", "no such folder can be made")],
)
def test_an_output_that_could_not_be_is_refused_before_the_work(
    tmp_path, typed, tiny, out, message
):
    (tmp_path / "tiny.txt").touch()
    for command in (("train", *QUICK), ("variant", tiny)):
        status, _, err = typed(*command, tmp_path / out)
        assert (status, err.count("\n")) == (2, 1)
        assert message in err
    assert not (tmp_path / out).exists()


def test_a_variant_has_fewer_bytes_and_a_table_of_its_own(tmp_path, typed, tiny):
    path = tmp_path / "tiny-int8.safetensors"
    status, out, err = typed("variant", tiny, path, "--bits", "8")
    assert status == 0, err
    small, large = read_table(path), read_table(tiny)
    assert [e.configuration for e in small.entries] == [e.configuration for e in large.entries]
    assert path.stat().st_size < tiny.stat().st_size
    assert f"{small.entries[-1].accuracy:.2%}" in out
    assert abs(small.entries[-1].accuracy - large.entries[-1].accuracy) < 0.05
    status, _, err = typed("variant", path, tmp_path / "twice.safetensors")
    assert status == 2
    assert "variant itself (int8)" in err
    status, _, err = typed("variant", tiny, path, "--bits", "5")
    assert status == 2
    assert "--bits" in err
