"""Finds and ends what is left of microVMs whose testbed and supervisor were both killed.

Everything else ends by itself: the native host's namespaces with their parent, a microVM by its
supervisor. Of guests at work, and of what is not Concertina's, nothing is touched.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from testbed.hosts.guest_boot import REQUEST, STATE_PREFIX
from testbed.hosts.guest_processes import kill_guest


def end_leftovers() -> Iterator[str]:
    """End each left-over guest and delete its temporary directory; one line for each."""
    for place in sorted({Path(tempfile.gettempdir()).resolve(), Path("/tmp")}):
        for state in sorted(place.glob(f"{STATE_PREFIX}*")):
            if not _is_ours(state) or _is_at_work(state):
                continue
            kill_guest(state)
            shutil.rmtree(state, ignore_errors=True)
            yield f"ended a left-over microVM and deleted {state}"


def _is_ours(state: Path) -> bool:
    return state.is_dir() and not state.is_symlink() and state.stat().st_uid == os.geteuid()


def _is_at_work(state: Path) -> bool:
    """Return True if the guest's testbed or supervisor lives: one of them holds the lock."""
    try:
        with (state / REQUEST).open("rb") as request:
            fcntl.flock(request, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):  # without a request it is just being made
        return True
    return False
