"""However a microVM ends, nothing of it is left: no process, no temporary file."""

import dataclasses
import os
import signal
import subprocess
import sys

import pytest

from stage_node.repository import REPOSITORY
from testbed.errors import GuestDiedError
from testbed.hosts.leftovers import end_leftovers
from testbed.hosts.microvm import MicroVm
from tests.e2e.conftest import PROGRAMS, virtual_host
from tests.e2e.hosts.processes import has_ended, is_kernel, processes_of, program, until

pytestmark = [pytest.mark.microvm, pytest.mark.usefixtures("kernel")]

# The event is written but its file stays open, as with the event log of a run.
LONG_JOB = "exec 3>>events; echo started >&3; (sleep 600 &) ; sleep 600"
PARENT = (sys.executable, str(PROGRAMS / "hosts" / "wait_for_guest.py"), LONG_JOB)


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_guest_dies_with_its_parent(tmp_path, blow):
    run, temporary = tmp_path / "run", tmp_path / "temporary"
    run.mkdir()
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(REPOSITORY)}
    parent = subprocess.Popen(
        PARENT,
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.DEVNULL,
        # A shell may have started these tests deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        until(lambda: (run / "events").exists() and (run / "events").read_text(), 60)
        assert len(processes_of(temporary)) >= 3
        parent.send_signal(blow)
        assert parent.wait(60) != 0
    finally:
        parent.kill()
    until(lambda: not processes_of(temporary), 60)
    assert list(temporary.iterdir()) == []


@pytest.mark.real_clock
def test_a_guest_on_the_real_clock_that_stands_still_is_ended_and_said_to_be_silent(
    tmp_path, monkeypatch
):
    host, message = MicroVm(watchdog_s=2), "no sign of life for 2 s and was ended"
    struck(host, is_kernel, signal.SIGSTOP, message, tmp_path, monkeypatch)


def test_a_guest_without_its_supervisor_is_ended_and_the_loss_is_told(tmp_path, monkeypatch):
    message = "its supervisor was killed"
    struck(virtual_host(), is_supervisor, signal.SIGKILL, message, tmp_path, monkeypatch)


def is_supervisor(process):
    return "python" in program(process)


def struck(host, is_victim, blow, message, tmp_path, monkeypatch):
    """A guest whose kernel or supervisor is sent a signal ends with the message."""
    run, temporary = tmp_path / "run", tmp_path / "temporary"
    run.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with host.start(["sh", "-c", LONG_JOB], writable=run) as guest:
        until(lambda: (run / "events").exists() and (run / "events").read_text(), 60)
        for process in processes_of(temporary):
            if is_victim(process):
                os.kill(process, blow)
        with pytest.raises(GuestDiedError, match=message):
            guest.wait()
    until(lambda: not processes_of(temporary), 60)
    assert list(temporary.iterdir()) == []


def test_a_guest_that_lost_testbed_and_supervisor_at_once_is_found_and_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    parent = subprocess.Popen(PARENT, env=environment)
    until(lambda: (tmp_path / "run" / "events").exists(), 60)
    assert list(end_leftovers()) == []
    (supervisor,) = filter(is_supervisor, processes_of(tmp_path))
    for process in processes_of(tmp_path):  # neither can end itself now
        if process == supervisor or is_kernel(process):
            os.kill(process, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: has_ended(supervisor), 60)
    (line,) = end_leftovers()
    assert line.startswith("ended a left-over microVM and deleted")
    until(lambda: not processes_of(tmp_path), 60)
    assert list(tmp_path.glob("concertina-*")) == []


def test_a_kernel_that_cannot_start_says_so(tmp_path):
    host = dataclasses.replace(virtual_host(), memory_mib=1)
    with pytest.raises(GuestDiedError, match="kernel ended before the command did; kernel log"):
        host.run(["true"], writable=tmp_path)
