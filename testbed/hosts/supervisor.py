"""Watches one microVM from the outside and ends it when its time has come.

A process of its own between the testbed and User-Mode Linux, so that the guest dies with the
testbed even when that is killed outright. Standard library only, started by path:
``python -I -S supervisor.py REQUEST`` with a JSON request (made by ``microvm.MicroVm.start``). Its
standard input is the lifeline: end of file, or a new parent process, means that the testbed is
gone. When the guest has ended, by itself or by force, one JSON line on standard output says
how: ``{"outcome": "exited", "status": N}`` or ``{"outcome": "died", "reason": "..."}``.

A guest that is at work moves its file ``clock``. On the real clock, one that does not for
``watchdog_s`` is ended; on a virtual clock, which stands still as long as anybody computes, one
that does not while it takes ``spin_s`` of processor time: a process that waits for the time by
asking for it again and again waits for ever there. The kernel is asked for that process's name.
"""

import contextlib
import ctypes
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TERMINATION_S = 3.0  # SIGTERM is clean within 0.5 s; SIGKILL comes after this long
LAST_WORK_S = 3.0  # for the command to save what it has
TICK_S = 0.25
MCONSOLE_MAGIC, MCONSOLE_VERSION = 0xCAFEBABE, 2  # arch/um/drivers/mconsole.h
MCONSOLE_S = 5.0
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None)

Outcome = dict[str, str | int]


class Guest:
    """A running User-Mode Linux: the kernel's process group and our end of its serial line."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._serial, guest_end = socket.socketpair()
        self._unread = b""
        self._state = Path(request["state"])
        self._console = Path(request["console"])
        serial_fd = request["serial_fd"]
        os.dup2(guest_end.fileno(), serial_fd)
        guest_end.close()

        def become_guest() -> None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # should this process be killed
            os.sched_setaffinity(0, {request["cpu"]})
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        with self._console.open("ab") as console:
            self._kernel = subprocess.Popen(
                request["kernel"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=request["env"],
                cwd=self._state,
                pass_fds=[serial_fd],
                start_new_session=True,
                preexec_fn=become_guest,
            )
        os.close(serial_fd)

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

    def clock_ns(self) -> int | None:
        """The guest's clock at its last tick; None before the first."""
        try:
            return int((self._state / "clock").read_text() or 0)
        except (FileNotFoundError, ValueError):
            return None

    def cpu_s(self) -> float:
        """Processor time that all processes of the guest have taken, seconds."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text().rpartition(") ")[2].split()
                if int(fields[3]) == self._kernel.pid:  # its session
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def present_process(self) -> str | None:
        """Name of the guest's process that has the processor, by the kernel's SysRq; None if the
        kernel does not answer."""
        with contextlib.suppress(OSError, struct.error):
            self._ask_kernel("sysrq 9")  # else `quiet` on its command line makes the answer empty
            found = re.search(r"comm: (.+?) (?:Not t|T)ainted", self._ask_kernel("sysrq p"))
            return found.group(1) if found else None
        return None

    def _ask_kernel(self, question: str) -> str:
        """Send a request to the kernel's management console; see uml_mconsole(1)."""
        told = b""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
            asking.bind("")  # a name of the machine's choice, for the answer
            asking.settimeout(MCONSOLE_S)
            request = struct.pack(
                "=Iii512s", MCONSOLE_MAGIC, MCONSOLE_VERSION, len(question), question.encode()
            )
            asking.sendto(request, str(self._state / "guest" / "mconsole"))
            more = True
            while more:
                answer = asking.recv(4096)
                _, more, size_bytes = struct.unpack_from("=iii", answer)
                told += answer[12 : 12 + size_bytes].rstrip(b"\0")
        return told.decode(errors="replace")

    def has_ended(self, within_s: float = 0.0) -> bool:
        """Return True if the kernel's process ends within this time, s."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._kernel.wait(within_s)
        return self._kernel.returncode is not None

    def ask_to_end(self) -> None:
        """Have the command asked to end, and give it the time to save what it has."""
        with contextlib.suppress(OSError, struct.error):  # the kernel may be past answering
            self._ask_kernel("cad")
            self.has_ended(LAST_WORK_S)

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
    begun = time.monotonic()
    booted = False
    progress = GuestProgress(guest, request)
    while True:
        readable, _, _ = select.select([sys.stdin, guest], [], [], TICK_S)
        if sys.stdin in readable or os.getppid() != parent:
            guest.ask_to_end()
            return died("the testbed ended before it")
        messages = guest.messages() if guest in readable else []
        for message in messages or []:
            booted = True
            word, _, rest = message.partition(" ")
            if word == "status":
                guest.has_ended(TERMINATION_S)
                return {"outcome": "exited", "status": int(rest)}
            if word == "failed":
                return died(f"the guest could not be set up: {rest}")
        if messages is None or guest.has_ended():
            return died("the guest kernel ended before the command did")
        if not booted and time.monotonic() - begun > request["boot_s"]:
            limit_s = request["boot_s"]
            return died(f"the guest gave no sign of having booted for {limit_s:g} s and was ended")
        if booted and (complaint := progress.complaint()):
            return died(complaint)


class GuestProgress:
    """The progress of the guest's clock, against the time that it was given."""

    def __init__(self, guest: Guest, request: dict[str, Any]) -> None:
        self._guest = guest
        self._watchdog_s: float | None = request["watchdog_s"]
        self._spin_s: float | None = request["spin_s"]
        self._clock_ns: int | None = None
        self._moved = time.monotonic()
        self._cpu_s = 0.0

    def complaint(self) -> str | None:
        """Why the guest has to be ended; None as long as its clock moves."""
        clock_ns = self._guest.clock_ns()
        now = time.monotonic()
        if clock_ns != self._clock_ns:
            self._clock_ns = clock_ns
            self._moved = now
            self._cpu_s = self._guest.cpu_s() if self._spin_s else 0.0
        if self._watchdog_s is not None and now - self._moved > self._watchdog_s:
            return f"the guest gave no sign of life for {self._watchdog_s:g} s and was ended"
        if self._spin_s is None or now - self._moved < self._spin_s:
            return None  # no more processor time than real time: it has one processor
        if self._guest.cpu_s() - self._cpu_s < self._spin_s:
            return None
        name = self._guest.present_process() or "a process"
        return (
            f"the virtual clock stood still for {self._spin_s:g} s of processor time and the guest "
            f"was ended: {name} waits for the time without sleeping, or computes so long"
        )


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


if __name__ == "__main__":
    main()
