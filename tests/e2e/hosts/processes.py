"""The processes of a guest, seen from outside."""

import os
import time
from collections.abc import Callable
from pathlib import Path


def processes_of(temporary: Path) -> list[int]:
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


def has_ended(process: int) -> bool:
    """Whether it is gone or a zombie: only then its files, and their locks, are free for sure."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].startswith(("Z", "X"))
    except (FileNotFoundError, ProcessLookupError):
        return True


def is_kernel(process: int) -> bool:
    """A guest's kernel, not one of the processes whose memory and signals it looks after."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False
    return b"umid=guest" in words and "TracerPid:\t0\n" in status


def program(process: int) -> str:
    """What it was started as; nothing if it is gone."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text().split("\0")[0]
    except OSError:
        return ""


def until(condition: Callable[[], object], limit_s: float) -> None:
    """Wait for it; a failure if it does not come true in time."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
