"""Watches one microVM from the outside and ends it when its time has come.

A process of its own between the testbed and User-Mode Linux, so that the guest dies with the
testbed even when that is killed outright. Standard library only, started by path:
``python -I -S supervisor.py REQUEST`` with a JSON request (made by ``microvm.MicroVm.start``). Its
standard input is the lifeline: end of file, or a new parent process, means that the testbed is
gone. When the guest has ended, by itself or by force, one JSON line on standard output says
how: ``{"outcome": "exited", "status": N}`` or ``{"outcome": "died", "reason": "..."}``.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TERMINATION_S = 3.0  # SIGTERM is clean within 0.5 s; SIGKILL comes after this long
TICK_S = 0.25
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None)

Outcome = dict[str, str | int]


class Guest:
    """A running User-Mode Linux: the kernel's process group and our end of its serial line."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._serial, guest_end = socket.socketpair()
        self._unread = b""
        serial = str(guest_end.fileno())

        def become_guest() -> None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # should this process be killed
            os.sched_setaffinity(0, {request["cpu"]})
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        with Path(request["console"]).open("ab") as console:
            self._kernel = subprocess.Popen(
                [word.replace("{serial}", serial) for word in request["kernel"]],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=request["env"],
                pass_fds=[guest_end.fileno()],
                start_new_session=True,
                preexec_fn=become_guest,
            )
        guest_end.close()

    def fileno(self) -> int:
        """The serial line, for select()."""
        return self._serial.fileno()

    def messages(self) -> list[str] | None:
        """Complete lines that have arrived; None once the guest has closed the line."""
        data = self._serial.recv(4096)
        if not data:
            return None
        *lines, self._unread = (self._unread + data).split(b"\n")
        return [line.decode(errors="replace").strip() for line in lines]

    def has_ended(self, within_s: float = 0.0) -> bool:
        """Whether the kernel's process ends within this time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._kernel.wait(within_s)
        return self._kernel.returncode is not None

    def end(self) -> None:
        """End every process of the guest. Killing only the kernel would leave the others."""
        if not self.has_ended():
            self._kernel.terminate()
            self.has_ended(TERMINATION_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._kernel.pid, signal.SIGKILL)
        self._kernel.wait()


def watch(guest: Guest, request: dict[str, Any]) -> Outcome:
    """Follow the guest until it is over; how it ended."""
    parent = os.getppid()
    limit_s, awaited = request["boot_s"], "sign of having booted"
    heard = time.monotonic()
    while True:
        readable, _, _ = select.select([sys.stdin, guest], [], [], TICK_S)
        if sys.stdin in readable or os.getppid() != parent:
            return died("the testbed ended before it")
        messages = guest.messages() if guest in readable else []
        for message in messages or []:
            heard = time.monotonic()
            word, _, rest = message.partition(" ")
            if word == "status":
                guest.has_ended(TERMINATION_S)
                return {"outcome": "exited", "status": int(rest)}
            if word == "failed":
                return died(f"the guest could not be set up: {rest}")
            limit_s, awaited = request["watchdog_s"], "sign of life"
        if messages is None or guest.has_ended():
            return died("the guest kernel ended before the command did")
        if time.monotonic() - heard > limit_s:
            return died(f"the guest gave no {awaited} for {limit_s:g} s and was ended")


def died(reason: str) -> Outcome:
    """The outcome of a guest whose command has no exit status."""
    return {"outcome": "died", "reason": reason}


def stop_on_signal(*_: object) -> None:
    """A polite request to end is obeyed after the guest has been ended."""
    raise SystemExit(1)


def main() -> None:
    """Start, watch, end, tidy up, report."""
    request = json.loads(sys.argv[1])
    signal.signal(signal.SIGTERM, stop_on_signal)
    try:
        guest = Guest(request)
        try:
            outcome = watch(guest, request)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            guest.end()
    finally:
        shutil.rmtree(request["state"], ignore_errors=True)
    with contextlib.suppress(BrokenPipeError):
        os.write(1, json.dumps(outcome).encode())


main()
