"""What a user meets before anything has run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stage_node.repository import REPOSITORY
from testbed.commands.cli import main

NO_PACE = "the real clock needs none; it is of the virtual clock"
NATIVE = "the native host has the real clock only; give --host microvm, or --clock real"
HEAVY_IMPORTS = "tests.testbed.commands.programs.heavy_imports"


@pytest.mark.parametrize("command", ["run", "ladder"])
def test_a_file_of_the_wrong_form_is_answered_before_anything_heavy_is_imported(
    command: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nnetwrok: {}\n")
    answer = subprocess.run(
        [sys.executable, "-m", HEAVY_IMPORTS, command, str(file)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 2
    assert answer.stdout == "[]\n"
    assert answer.stderr.splitlines() == [
        f"concertina: {file}: network: missing",
        f"concertina: {file}: netwrok: unknown field; did you mean network?",
    ]


MISTAKES = [
    (["run", "demo", "--seed", "abc"], "--seed abc: not a whole number from 0 to 2^64 - 1"),
    (["run", "demo", "--seed", "-1"], "--seed -1: not a whole number from 0 to 2^64 - 1"),
    (["demo", "--seed", str(2**64)], f"--seed {2**64}: not a whole number from 0 to 2^64 - 1"),
    (["run", "demo", "--pace", "0"], "--pace 0: not a number from 0.001 to 1000"),
    (["run", "demo", "--pace", "nan"], "--pace nan: not a number from 0.001 to 1000"),
    (["run", "demo", "--pace", "1", "--clock", "real"], f"--pace: {NO_PACE}"),
    (["run", "demo", "--pace", "1", "--host", "native"], f"--pace: {NO_PACE}"),
    *(
        ([*command, "--clock", "virtual", "--host", "native"], f"--clock virtual: {NATIVE}")
        for command in (["demo"], ["run", "demo"], ["fidelity"], ["sweep", "link-rates"])
    ),
]


@pytest.mark.parametrize(
    ("arguments", "told"), MISTAKES, ids=[" ".join(words)[:60] for words, _ in MISTAKES]
)
def test_an_option_that_no_machine_could_follow_is_one_line_and_nothing_starts(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["concertina", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"concertina: {told}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("after_s", [0.2, 0.8, 1.6])
def test_ctrl_c_while_the_program_starts_leaves_no_traceback(after_s, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "testbed", "run", "demo", "--out", str(tmp_path / "out")],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert "Traceback" not in output and process.returncode in (-signal.SIGINT, 130)
