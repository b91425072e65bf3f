"""Processes forked from the zygote: what they inherit, how they end, who goes with whom."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stage_node.processes.netns import NamespaceError, enter_network_of
from stage_node.processes.zygote import Zygote, ZygoteError
from stage_node.repository import REPOSITORY

ENTRIES = "tests.stage_node.processes.entries"


def until(condition: Callable[[], bool], patience_s: float = 10) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Running: neither gone nor a zombie that its new parent has yet to bury."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Spawner:
    """Spawns one of the entries with a log of its own."""

    def __init__(self, zygote: Zygote, folder: Path) -> None:
        self.zygote = zygote
        self.log_path = folder / "process.log"

    def __call__(self, entry: str, **kwargs: object) -> int:
        return self.zygote.spawn("test", f"{ENTRIES}:{entry}", kwargs, log_path=self.log_path)

    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""


@pytest.fixture
def spawn(zygote: Zygote, tmp_path: Path) -> Spawner:
    return Spawner(zygote, tmp_path)


def test_a_child_has_the_imports_one_thread_and_its_own_log(spawn: Spawner) -> None:
    assert spawn.zygote.wait(spawn("describe"), 10) == 0
    threads, has_torch, session = spawn.log().splitlines()[0].split()
    assert (threads, has_torch) == ("1", "True")
    assert int(session) != os.getsid(0), "Ctrl-C at the terminal is not for the children"
    assert spawn.log().endswith("oops\n")


@pytest.mark.parametrize(("given", "status"), [(None, 0), (0, 0), (3, 3), ("sorry", 1)])
def test_the_exit_status_arrives(spawn: Spawner, given: object, status: int) -> None:
    assert spawn.zygote.wait(spawn("leave", status=given), 10) == status


def test_an_error_of_the_house_is_one_line_and_its_status(spawn: Spawner) -> None:
    assert spawn.zygote.wait(spawn("give_up"), 10) == 2
    assert spawn.log() == "test: no such model\n"


def test_a_bug_leaves_its_traceback(spawn: Spawner) -> None:
    assert spawn.zygote.wait(spawn("break_down"), 10) == 1
    assert "Traceback" in spawn.log()
    assert spawn.log().endswith("ZeroDivisionError: a bug\n")


def test_an_entry_that_does_not_exist_fails_the_child_only(spawn: Spawner) -> None:
    assert spawn.zygote.wait(spawn("nonsense"), 10) == 1
    assert "nonsense" in spawn.log()
    assert spawn.zygote.wait(spawn("leave", status=0), 10) == 0


def test_a_killed_child_reports_its_signal(spawn: Spawner) -> None:
    pid = spawn("sleep")
    spawn.zygote.signal(pid, signal.SIGKILL)
    assert spawn.zygote.wait(pid, 10) == -signal.SIGKILL


def test_waiting_has_an_end(spawn: Spawner) -> None:
    pid = spawn("sleep")
    with pytest.raises(TimeoutError):
        spawn.zygote.wait(pid, 0.05)
    spawn.zygote.signal(pid, signal.SIGTERM)
    assert spawn.zygote.wait(pid, 10) == -signal.SIGTERM


def test_a_network_that_is_gone_is_one_clear_line(zygote: Zygote, spawn: Spawner) -> None:
    dead = spawn("leave", status=0)
    zygote.wait(dead, 10)
    pid = zygote.spawn("test", f"{ENTRIES}:describe", {}, log_path=spawn.log_path, netns_pid=dead)
    assert zygote.wait(pid, 10) == 1
    assert spawn.log() == f"test: process {dead} has no network: No such file or directory\n"
    with pytest.raises(NamespaceError):
        enter_network_of(dead)


def test_everyone_is_terminated_the_stubborn_by_force(tmp_path: Path) -> None:
    with Zygote.start() as zygote:
        spawn = Spawner(zygote, tmp_path)
        polite, stubborn = spawn("sleep"), spawn("sleep", stubborn=True)
        until(lambda: spawn.log().count("asleep") == 2)
        zygote.terminate_all(grace_s=0.2)
        assert zygote.wait(polite) == -signal.SIGTERM
        assert zygote.wait(stubborn) == -signal.SIGKILL


def test_children_die_with_a_killed_zygote(tmp_path: Path) -> None:
    with Zygote.start() as zygote:
        spawn = Spawner(zygote, tmp_path)
        pid = spawn("sleep", stubborn=True)
        until(lambda: "asleep" in spawn.log())
        os.kill(int(Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[1]), 9)
        until(lambda: not alive(pid))
        with pytest.raises(ZygoteError):
            spawn("sleep")


def test_children_die_with_a_killed_client(tmp_path: Path) -> None:
    program = "tests.stage_node.processes.programs.killed_client"
    command = [sys.executable, "-m", program, f"{ENTRIES}:sleep", str(tmp_path / "log")]
    client = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert client.returncode == -signal.SIGKILL
    until(lambda: not alive(int(client.stdout)))


def test_a_module_that_starts_threads_is_not_preloaded(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).with_name("programs")))
    with Zygote.start(["threaded"]) as zygote, pytest.raises(ZygoteError):
        zygote.wait_ready()
    assert "importing threaded started 1 threads" in capfd.readouterr().err
