"""Starting processes by forking them from a preloaded zygote, each into its own emulated host.

This is the client's side; it imports nothing heavy.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from stage_node.errors import StageNodeError
from stage_node.repository import REPOSITORY

PRELOAD_TIMEOUT_S = 120.0
TERMINATE_GRACE_S = 3.0


class ZygoteError(StageNodeError):
    """The zygote could not do what it was asked to."""


class Zygote:
    """A running zygote and its children. For one thread; close it, or use ``with``."""

    def __init__(self, process: subprocess.Popen[bytes], server: socket.socket) -> None:
        self._process = process
        self._server = server
        self._unread = b""
        self._ready = False
        self._running: set[int] = set()
        self._ended: dict[int, int] = {}

    @classmethod
    def start(cls, preload: Sequence[str] = ()) -> Self:
        """Start a zygote that imports some modules; returns at once, the imports take seconds."""
        client, server = socket.socketpair()
        with server:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "stage_node.processes.zygote_server"),
                    *("--socket-fd", str(server.fileno())),
                    *("--preload", ",".join(preload)),
                ],
                env=_environment(),
                pass_fds=[server.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the client, who ends the zygote
            )
        return cls(process, client)

    def wait_ready(self, timeout_s: float = PRELOAD_TIMEOUT_S) -> None:
        """Wait until everything is imported; ``ZygoteError`` if that fails."""
        deadline = time.monotonic() + timeout_s
        while not self._ready:
            if "ready" in self._listen(deadline):
                self._ready = True

    def spawn(
        self,
        name: str,
        entry: str,
        kwargs: Mapping[str, Any],
        *,
        log_path: Path,
        netns_pid: int | None = None,
    ) -> int:
        """Start a process that calls ``entry`` (``module:function``); returns its pid.

        ``kwargs`` are JSON values. Standard output and error are appended to ``log_path``. The
        process lives in the network namespace of process ``netns_pid``, where that is given.
        """
        self.wait_ready()
        request = {"name": name, "entry": entry, "kwargs": dict(kwargs), "netns_pid": netns_pid}
        self._say(spawn={**request, "log_path": str(log_path)})
        deadline = time.monotonic() + PRELOAD_TIMEOUT_S
        while True:
            if pid := self._listen(deadline).get("pid"):
                self._running.add(pid)
                return int(pid)

    def wait(self, pid: int, timeout_s: float | None = None) -> int:
        """Exit status of a child, negative if a signal ended it; ``TimeoutError``."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while pid not in self._ended:
            if pid not in self._running:
                raise ZygoteError(f"process {pid} is not of this zygote")
            self._listen(deadline)
        return self._ended[pid]

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a child; nothing happens if it has ended."""
        self._say(signal={"pid": pid, "number": int(number)})

    def terminate_all(self, grace_s: float = TERMINATE_GRACE_S) -> None:
        """End all children: SIGTERM, and SIGKILL for those that are still there after a while."""
        for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, None)):
            children = tuple(self._running)
            for pid in children:
                self.signal(pid, number)
            deadline = None if patience_s is None else time.monotonic() + patience_s
            with contextlib.suppress(TimeoutError):
                while self._running:
                    self._listen(deadline)

    def close(self) -> None:
        """End all children, then the zygote."""
        with contextlib.suppress(ZygoteError):
            self.terminate_all()
        self._server.close()  # the zygote ends when its client is gone
        if not self._ready:
            self._process.kill()  # it would first finish its imports
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _say(self, **message: object) -> None:
        self._server.settimeout(None)
        try:
            self._server.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise ZygoteError(f"the zygote is gone: {error}") from None

    def _listen(self, deadline: float | None) -> dict[str, Any]:
        """The zygote's next message; ends of children are noted. ``TimeoutError``."""
        while b"\n" not in self._unread:
            self._server.settimeout(
                None if deadline is None else max(deadline - time.monotonic(), 0.001)
            )
            received = self._server.recv(1 << 16)
            if not received:
                raise ZygoteError("the zygote ended; its last words are on standard error")
            self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        if exited := message.get("exited"):
            self._running.discard(exited["pid"])
            self._ended[exited["pid"]] = exited["status"]
        return message


def _environment() -> dict[str, str]:
    """Numeric libraries get one thread: others would not survive the fork."""
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
