"""Work inside another process's network namespace.

A thread enters the namespace, does one thing and returns; a socket or a process made meanwhile
stays there. setns(2) moves the calling thread only, so other threads are not disturbed.
"""

import ctypes
import os
import subprocess
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from topologies.errors import EmulationError

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _setns(fd: int) -> None:
    # os.setns exists from Python 3.12 on.
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise EmulationError(f"cannot enter a network namespace: {os.strerror(error)}")


@contextmanager
def inside(pid: int) -> Iterator[None]:
    """The calling thread is in the network namespace of process ``pid`` for the duration."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def run_inside(pid: int, *argv: str) -> str:
    """Run a command in the namespace of ``pid`` to its end; its standard output.

    Raises ``EmulationError`` with the command's own complaint if it fails.
    """
    with inside(pid):
        return run(*argv)


def run(*argv: str) -> str:
    """Run a command to its end; its standard output, or ``EmulationError`` if it fails."""
    try:
        result = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise EmulationError(f"{argv[0]} is not installed") from error
    if result.returncode != 0:
        complaint = result.stderr.strip() or result.stdout.strip() or "no message"
        raise EmulationError(f"{' '.join(argv)}: {complaint}")
    return result.stdout


def spawn_inside(
    pid: int, argv: Sequence[str], output: IO[bytes], messages: IO[bytes]
) -> "subprocess.Popen[bytes]":
    """Start a command in the namespace of ``pid``; ``messages`` takes its standard error.

    The kernel kills it (``PR_SET_PDEATHSIG``) when the calling *thread* ends, however it ends.
    """
    with inside(pid):
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=messages,
            start_new_session=True,  # Ctrl-C at the terminal is for the runner alone
        )


def namespace_of(pid: int) -> int:
    """Inode number that identifies the network namespace of a process."""
    return os.stat(f"/proc/{pid}/ns/net").st_ino  # noqa: PTH116 (a magic link, not a path)


def processes_inside(namespaces: Collection[int]) -> list[int]:
    """Processes whose network namespace is one of these, as far as they can be seen."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                namespace = namespace_of(int(entry.name))
            except OSError:  # ended meanwhile, or a kernel thread
                continue
            if namespace in namespaces:
                found.append(int(entry.name))
    return found
