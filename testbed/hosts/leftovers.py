"""Finds and ends what is left of microVMs whose testbed and supervisor were both killed.

Everything else ends by itself: the native host's namespaces with their parent, a microVM by its
supervisor. Of guests at work, and of what is not Concertina's, nothing is touched.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from testbed.hosts.microvm import REQUEST, STATE_PREFIX


def end_leftovers() -> Iterator[str]:
    """End each left-over guest and delete its temporary directory; one line for each."""
    for place in sorted({Path(tempfile.gettempdir()).resolve(), Path("/tmp")}):
        for state in sorted(place.glob(f"{STATE_PREFIX}*")):
            if not _is_ours(state) or _is_at_work(state):
                continue
            _kill_guest(state)
            shutil.rmtree(state, ignore_errors=True)
            yield f"ended a left-over microVM and deleted {state}"


def _is_ours(state: Path) -> bool:
    return state.is_dir() and not state.is_symlink() and state.stat().st_uid == os.geteuid()


def _is_at_work(state: Path) -> bool:
    """Whether the guest's testbed or supervisor lives: one of them holds the lock."""
    try:
        with (state / REQUEST).open("rb") as request:
            fcntl.flock(request, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):  # without a request it is just being made
        return True
    return False


def _kill_guest(state: Path) -> None:
    """Kill until none is left: a guest makes processes as it runs."""
    deadline = time.monotonic() + 5
    while (processes := _processes_of(state)) and time.monotonic() < deadline:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)


def _processes_of(state: Path) -> list[int]:
    """The guest's processes: their environment names the directory as their home."""
    home = f"HOME={state}".encode()
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and home in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            continue
    return found
