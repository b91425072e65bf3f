"""The zygote itself, which is forked: ``python -m stage_node.processes.zygote_server``.

Importing torch takes seconds, in a User-Mode Linux guest up to 14; a fork takes milliseconds. So
one process imports everything once and forks all others. It serves its client (``zygote``) over a
Unix socket, one JSON object a line:

* ``{"ready": true}`` is said when everything is imported;
* ``{"spawn": {name, entry, kwargs, netns_pid, log_path}}`` is answered by ``{"pid": ...}``;
* ``{"signal": {pid, number}}`` is not answered;
* ``{"exited": {pid, status}}`` is said when a child ends; ``status`` is negative for a signal.

The zygote never has a second thread: a lock that one holds would stay locked in a forked child.
When its client goes away it kills its children and ends; when it is killed itself, the kernel kills
them (``PR_SET_PDEATHSIG``).
"""

import argparse
import contextlib
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from stage_node.processes.netns import enter_network_of
from stage_node.processes.seeds import begin_as_seeded

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
MAX_LINE_BYTES = 1 << 20


class ZygoteServer:
    """Forks children on request and reports their ends."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._pid = os.getpid()
        self._children: dict[int, int] = {}  # pid: pidfd
        self._selector = selectors.DefaultSelector()
        self._selector.register(client, selectors.EVENT_READ, self._answer)
        self._unread = b""

    def run(self) -> None:
        """Serve until the client closes the socket."""
        self._say(ready=True)
        while True:
            for key, _ in self._selector.select():
                if not key.data():
                    return

    def kill_children(self) -> None:
        """End every child at once."""
        for descriptor in self._children.values():
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)

    def _answer(self) -> bool:
        received = self._client.recv(MAX_LINE_BYTES)
        *lines, self._unread = (self._unread + received).split(b"\n")
        for line in lines:
            request = json.loads(line)
            if "spawn" in request:
                self._spawn(request["spawn"])
            elif request["signal"]["pid"] in self._children:
                child = self._children[request["signal"]["pid"]]
                signal.pidfd_send_signal(child, request["signal"]["number"])
        return bool(received)

    def _spawn(self, request: dict[str, Any]) -> None:
        pid = os.fork()
        if pid == 0:
            self._selector.close()
            self._client.close()
            for descriptor in self._children.values():
                os.close(descriptor)
            become(request, parent=self._pid)
        descriptor = os.pidfd_open(pid)
        self._children[pid] = descriptor
        self._selector.register(descriptor, selectors.EVENT_READ, lambda: self._bury(pid))
        self._say(pid=pid)

    def _bury(self, pid: int) -> bool:
        descriptor = self._children.pop(pid)
        self._selector.unregister(descriptor)
        os.close(descriptor)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self._say(exited={"pid": pid, "status": status})
        return True

    def _say(self, **message: object) -> None:
        self._client.sendall(json.dumps(message).encode() + b"\n")


def become(request: dict[str, Any], parent: int) -> NoReturn:
    """Turn a freshly forked child into the process that was asked for, and never return.

    An exception of the house ends it with one line and its ``exit_status``; any other with a
    traceback and status 1.
    """
    status = 1
    try:
        _die_with(parent)
        _prctl(PR_SET_NAME, ctypes.c_char_p(request["name"][:15].encode()))
        _redirect(Path(request["log_path"]))
        if request["netns_pid"] is not None:
            enter_network_of(request["netns_pid"])
        begin_as_seeded(request["name"])
        _function(request["entry"])(**request["kwargs"])
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:
        status = getattr(error, "exit_status", None) or 1
        if hasattr(error, "exit_status"):
            print(f"{request['name']}: {error}", file=sys.stderr)
        else:
            traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # what the zygote registered to be done at exit is not ours to do


def _function(entry: str) -> Callable[..., object]:
    module, name = entry.split(":")
    function: Callable[..., object] = getattr(importlib.import_module(module), name)
    return function


def _die_with(parent: int) -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we could ask to be told
        os._exit(1)


def _prctl(option: int, argument: object) -> None:
    ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)


def _redirect(log_path: Path) -> None:
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(nothing)


def preload(modules: list[str]) -> None:
    """Import modules for the children to have; ``RuntimeError`` if one of them started a thread."""
    for module in modules:
        importlib.import_module(module)
        threads = len(list(Path("/proc/self/task").iterdir()))
        if threads > 1:
            raise RuntimeError(f"importing {module} started {threads - 1} threads")
    gc.collect()
    gc.freeze()  # a collection in a child must not copy every page it looks at


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description="Fork preloaded processes on request.")
    parser.add_argument("--socket-fd", type=int, required=True)
    parser.add_argument("--preload", default="")
    arguments = parser.parse_args()
    preload([module for module in arguments.preload.split(",") if module])
    server = ZygoteServer(socket.socket(fileno=arguments.socket_fd))
    try:
        with contextlib.suppress(ConnectionError):
            server.run()
    finally:
        server.kill_children()
    os._exit(0)  # tidying up torch takes seconds in a guest, for nothing


if __name__ == "__main__":
    main()
