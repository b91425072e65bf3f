"""One cell of a sweep, on the worker that it is given to: a process of its own, a CPU of its own.

The whole run, analysis included, is pinned to that CPU, so that two cells never disturb each
other's network. Imports little: every worker loads this module.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from distributed import Event, get_worker

from stage_node.repository import REPOSITORY
from testbed.hosts.cpu import own_cpu

TICK_S = 0.5
END_S = 20.0  # the host ends a guest by force after 3 s and waits 10 s for its supervisor


@dataclass(frozen=True)
class CellRequest:
    """A worker's order: all paths are absolute and seen by every worker.

    ``arguments`` of the worker's own Python leave the run in ``directory``, where nothing may be
    yet; the output goes to ``log``. ``stop`` names the event that ends it early, ``topic`` where
    its news go.
    """

    key: str
    arguments: tuple[str, ...]
    directory: Path
    log: Path
    working_directory: Path
    stop: str
    topic: str


@dataclass(frozen=True)
class CellOutcome:
    """End of a cell's process; ``status`` is None if it was stopped."""

    status: int | None
    last_line: str = ""


def run_cell(request: CellRequest) -> CellOutcome:
    """Wait for a CPU that no other guest has, run the cell there, and see to its end.

    Runs in the thread of a Dask worker. When the worker is killed, the kernel ends the cell's
    process (prctl(2), PR_SET_PDEATHSIG), which ends its guest.
    """
    if not request.log.parent.is_dir():
        return CellOutcome(1, f"{request.log.parent} is not to be seen on {socket.gethostname()}")
    stop = Event(request.stop)
    with own_cpu(give_up=stop.is_set) as cpu:
        if cpu is None:
            return CellOutcome(None)
        get_worker().log_event(request.topic, {"key": request.key, "cpu": cpu})
        shutil.rmtree(request.directory, ignore_errors=True)  # of a run that did not end well
        with request.log.open("wb") as log:
            process = subprocess.Popen(
                pinned(sys.executable, *request.arguments, cpu=cpu),
                cwd=request.working_directory,
                env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        status = _watch(process, stop)
    return CellOutcome(status, last_line(request.log))


def pinned(*command: str, cpu: int) -> list[str]:
    """``command`` on one CPU, and told to end with its parent; see taskset(1), setpriv(1)."""
    return ["setpriv", "--pdeathsig", "TERM", "taskset", "--cpu-list", str(cpu), *command]


def last_line(log: Path) -> str:
    """The last that a process wrote."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _watch(process: subprocess.Popen[bytes], stop: Event) -> int | None:
    """The status with which it ended by itself; None if it was stopped."""
    try:
        while process.poll() is None:
            if stop.is_set():
                return None
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(TICK_S)
        return process.returncode
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process, first politely: a run that is asked to end ends its guest first."""
    process.terminate()
    deadline = time.monotonic() + END_S
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
