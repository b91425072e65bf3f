"""One step of a build: a program whose output is followed, and which never outlives this process.

Its processes are a group of their own, killed at once when the step is left early. Should this
process be killed itself, they end with the next line that they write into the broken pipe.
"""

import errno
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from testbed.errors import KernelUnavailableError
from testbed.kernel.cache import kernel_cache

LAST_LINES = 40
MORE_SPACE = "free some, or name a folder on another disk: XDG_CACHE_HOME=DIR"
NO_SPACE = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))


def follow(
    command: Sequence[str], folder: Path, log: Path, told: Callable[[str], None] = lambda _: None
) -> None:
    """Run a program to its end in ``folder``, every line of its output going to ``told``.

    Raises KernelUnavailableError with the line that says why it failed.
    """
    environment = os.environ | {"TMPDIR": str(folder), "LC_ALL": "C", "XZ_DEFAULTS": "-T0"}
    last: deque[str] = deque(maxlen=LAST_LINES)
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise KernelUnavailableError(f"kernel: {command[0]}: {error.strerror}") from error
    assert process.stdout is not None
    with process.stdout as output, log.open("a", buffering=1) as record:
        try:
            record.write(f"$ {' '.join(command)}\n")
            for line in output:
                record.write(line)
                last.append(line.strip())
                told(line)
            status = process.wait()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                output.read()  # to its end, which is when the last of them has gone
                process.wait()
    if status:
        raise KernelUnavailableError(failure(command[0], status, list(last), log))


def failure(program: str, status: int, lines: Sequence[str], log: Path) -> str:
    """Say in one line why a step failed, by its last lines, and what would help."""
    if any(sign in line for line in lines for sign in NO_SPACE):
        return no_space(kernel_cache())
    words = ("error", "failed", "e: ", "cannot")
    telling = [line for line in lines if any(word in line.lower() for word in words)]
    why = (telling or [line for line in lines if line] or [f"exit status {status}"])[0]
    return f"kernel: {program} failed: {why}; all it said is in {log}"


@contextmanager
def told_in_a_line() -> Iterator[None]:
    """Turn what the system refuses into a KernelUnavailableError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise KernelUnavailableError(no_space(kernel_cache())) from error
        raise KernelUnavailableError(f"kernel: {error}") from error


def no_space(folder: Path) -> str:
    """Say in one line that there is no space, and what would help."""
    return f"kernel: no space left in {folder}; {MORE_SPACE}"
