"""However a microVM ends, nothing of it is left: no process, no temporary file."""

import os
import signal
import subprocess
import sys

import pytest

from testbed.errors import GuestDiedError
from testbed.hosts.environment import REPOSITORY
from testbed.hosts.leftovers import end_leftovers
from testbed.hosts.microvm import MicroVm
from tests.e2e.processes import has_ended, processes_of, program, until

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
        [sys.executable, "-c", PARENT],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.DEVNULL,
        # A shell may have started these tests deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        until(lambda: (run / "events").exists() and (run / "events").read_text(), 30)
        assert len(processes_of(temporary)) >= 3
        parent.send_signal(blow)
        assert parent.wait(10) != 0
    finally:
        parent.kill()
    until(lambda: not processes_of(temporary), 5)
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
        until(lambda: (run / "events").exists() and (run / "events").read_text(), 30)
        for process in processes_of(temporary):
            if victim in program(process):
                os.kill(process, blow)
        with pytest.raises(GuestDiedError, match=message):
            guest.wait()
    until(lambda: not processes_of(temporary), 2)
    assert list(temporary.iterdir()) == []


def test_a_guest_that_lost_testbed_and_supervisor_at_once_is_found_and_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], env=environment)
    until(lambda: (tmp_path / "run" / "events").exists(), 30)
    assert list(end_leftovers()) == []
    (supervisor,) = [process for process in processes_of(tmp_path) if "python" in program(process)]
    for process in processes_of(tmp_path):  # neither can end itself now
        if process == supervisor or "linux.uml" in program(process):
            os.kill(process, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: has_ended(supervisor), 2)
    (line,) = end_leftovers()
    assert line.startswith("ended a left-over microVM and deleted")
    until(lambda: not processes_of(tmp_path), 2)
    assert list(tmp_path.glob("concertina-*")) == []


def test_a_kernel_that_cannot_start_says_so(tmp_path):
    with pytest.raises(GuestDiedError, match="kernel ended before the command did; kernel log"):
        MicroVm(memory_mib=1).run(["true"], writable=tmp_path)
