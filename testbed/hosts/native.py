"""The native host: one command run in place, as root, in throw-away namespaces.

The command gets network, mount and process namespaces of its own (namespaces(7)). When it ends,
or this process does, the kernel ends all its processes, and their interfaces and mounts with
them: nothing is ever made in the machine's own namespaces. See unshare(1), setpriv(1).
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from stage_node.repository import REPOSITORY
from testbed.errors import HostUnavailableError
from testbed.hosts.environment import emulation_environment
from testbed.hosts.host import output_file

# `ip netns add` would otherwise leave names in the machine's own /run/netns.
PREPARE = (
    "mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && ip link set lo up || exit 125; "
    '"$@"; exit $?'
)
PREPARE_FAILED = 125
LAST_WORK_S = 3.0


@dataclass(frozen=True)
class Native:
    """This machine itself; needs root and a kernel with veth and netem."""

    kind: ClassVar[str] = "native"

    def run(
        self,
        command: Sequence[str],
        *,
        writable: Path,
        readable: Mapping[str, Path] | None = None,
        env: Mapping[str, str] | None = None,
        output: Path | None = None,
        seed: int = 1,
    ) -> int:
        """Run ``command`` in place; see ``Host.run``. Here every file is the machine's own."""
        writable = writable.resolve(strict=True)
        log = output_file(output, writable)
        seen = {name: str(path.resolve()) for name, path in (readable or {}).items()}
        surroundings = emulation_environment(REPOSITORY, Path(sys.prefix), seed)
        with log.open("ab") as stream:
            process = subprocess.Popen(
                in_namespaces(command),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=surroundings | seen | dict(env or {}),
                cwd=writable,
                start_new_session=True,
            )
        try:
            status = process.wait()
        except BaseException:
            ask_to_end(process)
            raise
        finally:
            process.kill()  # the namespaces' first process dies with it, and all others with that
            process.wait()
        if status == PREPARE_FAILED:
            raise HostUnavailableError(f"native: namespaces cannot be prepared (see {log})")
        return status if status >= 0 else 128 - status


def ask_to_end(process: "subprocess.Popen[bytes]") -> None:
    """Ask the command in the namespaces to end, and give it the time to save what it has.

    Neither ``unshare`` nor the shell below it, the namespaces' first process, passes a signal on.
    """
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        for shell in children(process.pid):
            for command in children(shell):
                os.kill(command, signal.SIGTERM)
        process.wait(LAST_WORK_S)


def children(pid: int) -> list[int]:
    """Processes that a process has started; see proc(5)."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def in_namespaces(command: Sequence[str]) -> list[str]:
    """``command`` wrapped so that it runs in its own namespaces and dies with its parent."""
    die_with_parent = ["setpriv", "--pdeathsig", "KILL"]
    namespaces = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return [*die_with_parent, *namespaces, "sh", "-c", PREPARE, "sh", *command]
