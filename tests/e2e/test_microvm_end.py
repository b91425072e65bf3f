"""However a microVM ends, nothing of it is left: no process, no temporary file."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from testbed.errors import GuestDiedError
from testbed.hosts.environment import REPOSITORY
from testbed.hosts.leftovers import end_leftovers
from testbed.hosts.microvm import MicroVm

pytestmark = pytest.mark.microvm

# The event is written but its file stays open, as with the event log of a run.
LONG_JOB = "exec 3>>run/events; echo started >&3; (sleep 600 &) ; sleep 600"
PARENT = f"""
from pathlib import Path
from testbed.hosts.microvm import MicroVm
MicroVm().run(["sh", "-c", {LONG_JOB!r}], writable=Path("run"))
"""


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_guest_dies_with_its_parent(tmp_path, blow):
    run, temporary = tmp_path / "run", tmp_path / "temporary"
    run.mkdir()
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(REPOSITORY)}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    )
    try:
        _until(lambda: (run / "events").exists() and (run / "events").read_text(), 30)
        assert len(_processes_of(temporary)) >= 3
        parent.send_signal(blow)
        assert parent.wait(10) != 0
    finally:
        parent.kill()
    _until(lambda: not _processes_of(temporary), 5)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("victim", "blow", "message"),
    [
        ("linux.uml", signal.SIGSTOP, "no sign of life for 2 s and was ended"),
        ("python", signal.SIGKILL, "its supervisor was killed"),
    ],
)
def test_a_guest_that_is_struck_is_ended_with_a_message(
    tmp_path, monkeypatch, victim, blow, message
):
    run, temporary = tmp_path / "run", tmp_path / "temporary"
    run.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with MicroVm(watchdog_s=2).start(["sh", "-c", LONG_JOB], writable=run) as guest:
        _until(lambda: (run / "events").exists() and (run / "events").read_text(), 30)
        for process in _processes_of(temporary):
            if victim in _program(process):
                os.kill(process, blow)
        with pytest.raises(GuestDiedError, match=message):
            guest.wait()
    _until(lambda: not _processes_of(temporary), 2)
    assert list(temporary.iterdir()) == []


def test_a_guest_that_lost_testbed_and_supervisor_at_once_is_found_and_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], env=environment)
    _until(lambda: (tmp_path / "run" / "events").exists(), 30)
    assert list(end_leftovers()) == []
    (supervisor,) = [
        process for process in _processes_of(tmp_path) if "python" in _program(process)
    ]
    for process in _processes_of(tmp_path):  # neither can end itself now
        if process == supervisor or "linux.uml" in _program(process):
            os.kill(process, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    os.kill(supervisor, signal.SIGKILL)
    _until(lambda: _has_ended(supervisor), 2)
    (line,) = end_leftovers()
    assert line.startswith("ended a left-over microVM and deleted")
    _until(lambda: not _processes_of(tmp_path), 2)
    assert list(tmp_path.glob("concertina-*")) == []


def test_a_kernel_that_cannot_start_says_so(tmp_path):
    with pytest.raises(GuestDiedError, match="kernel ended before the command did; kernel log"):
        MicroVm(memory_mib=1).run(["true"], writable=tmp_path)


def _processes_of(temporary: Path) -> list[int]:
    """Every process whose command line or environment names the guest's temporary directory."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            known = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(temporary / "concertina-guest-").encode() in known:
            found.append(int(process.name))
    return found


def _has_ended(process: int) -> bool:
    """Whether it is gone or a zombie: only then its files, and their locks, are free for sure."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].startswith(("Z", "X"))
    except (FileNotFoundError, ProcessLookupError):
        return True


def _program(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text().split("\0")[0]
    except OSError:
        return ""


def _until(condition, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
