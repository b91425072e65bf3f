"""The microVM: one command in a User-Mode Linux guest, an ordinary process without privileges.

The guest boots Debian's ``user-mode-linux`` kernel with this machine's file system as its root,
read-only, and becomes root in a system of its own (``guest_init``). A supervisor process watches
it (``supervisor``). See user-mode-linux(1) and Documentation/virt/uml in the kernel's source.
"""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from stage_node.processes.seeds import SEED_VARIABLE
from testbed.errors import GuestDiedError, HostUnavailableError
from testbed.hosts.cpu import claim_cpu
from testbed.hosts.guest_boot import (
    REQUEST,
    SERIAL_FD,
    GuestCommand,
    kernel_command,
    prepare_state,
)
from testbed.hosts.guest_processes import kill_guest
from testbed.hosts.host import output_file
from testbed.kernel.cache import find_kernel
from testbed.kernel.guest_kernel import GuestKernel

KERNEL = "linux.uml"
PRELOAD = "preload.so"  # in the guest's directory: the loader splits paths at their blanks
KERNEL_HELPS = "`concertina kernel build` helps"
SUPERVISOR_S = 15.0  # it asks a guest to end, and ends it by force after 6 s


@dataclass(frozen=True)
class VirtualClock:
    """A clock that passes only while the guest has nothing to do.

    ``pace`` bounds it to N virtual seconds per real second; without it, it runs as it can. A guest
    that computes for ``spin_s`` seconds of processor time without virtual progress is ended.
    """

    kernel: GuestKernel
    pace: float | None = None
    spin_s: float = 90.0


@dataclass(frozen=True)
class MicroVm:
    """A guest's size and patience.

    ``memory_mib`` is the memory that the guest sees; this machine gives it only what it touches.
    ``cpu`` is the one CPU of this machine it runs on, by default one that no other microVM has.
    A guest that is silent for ``boot_s`` at the start is ended, and, on the real clock, one that
    is silent for ``watchdog_s`` later. Without a ``virtual`` clock it has the machine's, and the
    kernel of the distribution's package.
    """

    kind: ClassVar[str] = "microvm"

    memory_mib: int = 3072
    cpu: int | None = None
    boot_s: float = 60.0
    watchdog_s: float = 30.0
    virtual: VirtualClock | None = None

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
        """Boot, run ``command``, switch off; see ``Host.run``.

        The kernel's own messages go to ``kernel.log`` beside ``output``.
        """
        with self.start(
            command, writable=writable, readable=readable, env=env, output=output, seed=seed
        ) as guest:
            return guest.wait()

    def start(
        self,
        command: Sequence[str],
        *,
        writable: Path,
        readable: Mapping[str, Path] | None = None,
        env: Mapping[str, str] | None = None,
        output: Path | None = None,
        seed: int = 1,
    ) -> "RunningGuest":
        """Like ``run``, but returns at once; use the result as a context manager."""
        kernel = self._kernel()
        writable = writable.resolve(strict=True)
        log = output_file(output, writable)
        memory = memory_directory(self.memory_mib)
        state = prepare_state(
            GuestCommand(
                command=command,
                writable=writable,
                readable=readable or {},
                env=env or {},
                output=log,
                seed=seed,
                virtual=self.virtual is not None,
            )
        )
        built = self.virtual.kernel if self.virtual else find_kernel()
        if built:  # also for the package's kernel, on processors that it does not know
            (state / PRELOAD).symlink_to(built.preload)
        cpu, claim = claim_cpu(self.cpu)
        supervision = {
            "kernel": kernel_command(kernel, self.memory_mib, self.virtual is not None),
            "env": {"TMPDIR": str(memory), "HOME": str(state)}
            | ({"LD_PRELOAD": f"./{PRELOAD}"} if built else {})
            | self._clock_environment(seed),
            "serial_fd": SERIAL_FD,
            "cpu": cpu,
            "console": str(log.with_name("kernel.log")),
            "boot_s": self.boot_s,
            "watchdog_s": None if self.virtual else self.watchdog_s,
            "spin_s": self.virtual.spin_s if self.virtual else None,
            "state": str(state),
        }
        return RunningGuest(supervision, claim)

    def _kernel(self) -> Path:
        if self.virtual:
            return self.virtual.kernel.executable
        kernel = shutil.which(KERNEL)
        if kernel is None:
            raise HostUnavailableError(
                f"microvm: {KERNEL} is not installed; fix: sudo apt-get install user-mode-linux"
            )
        return Path(kernel)

    def _clock_environment(self, seed: int) -> dict[str, str]:
        """Environment of the library in the kernel's process that makes entropy and pace."""
        if self.virtual is None:
            return {}
        pace = {} if self.virtual.pace is None else {"CONCERTINA_PACE": str(self.virtual.pace)}
        return {SEED_VARIABLE: str(seed)} | pace


class RunningGuest:
    """A guest at work. Leaving the ``with`` block ends it."""

    def __init__(self, supervision: dict[str, Any], cpu_claim: socket.socket) -> None:
        self.cpu: int = supervision["cpu"]
        self._console = Path(supervision["console"])
        self._state = Path(supervision["state"])
        self._cpu_claim = cpu_claim
        # Locked as long as this process or the supervisor lives; leftovers.py asks.
        self._life = (self._state / REQUEST).open("rb")
        fcntl.flock(self._life, fcntl.LOCK_EX)
        supervisor = Path(__file__).with_name("supervisor.py")
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", str(supervisor), json.dumps(supervision)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self._life.fileno()],
            start_new_session=True,
        )

    def wait(self) -> int:
        """The command's exit status, when it has ended."""
        assert self._supervisor.stdout is not None
        report = self._supervisor.stdout.read()
        self._supervisor.wait()
        outcome = json.loads(report) if report else {"reason": "its supervisor was killed"}
        if outcome.get("outcome") == "exited":
            return int(outcome["status"])
        raise GuestDiedError(f"microvm: {outcome['reason']}{self._last_words()}")

    def stop(self) -> None:
        """End the guest now, if it has not ended, and wait until nothing of it is left."""
        for pipe in (self._supervisor.stdin, self._supervisor.stdout):
            if pipe is not None:
                pipe.close()
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._supervisor.wait(SUPERVISOR_S)
        finally:
            self._supervisor.kill()
            self._supervisor.wait()
            kill_guest(self._state)  # a killed supervisor may have left one of its processes
            shutil.rmtree(self._state, ignore_errors=True)
            self._life.close()
            self._cpu_claim.close()

    def _last_words(self) -> str:
        if not self._console.exists():
            return ""
        text = self._console.read_text(errors="replace")
        if "set fp regs failed" in text:
            return f"; it does not know this processor's registers: {KERNEL_HELPS}"
        lines = text.splitlines()
        spoken = [line.strip() for line in lines if line.strip()][-3:]
        return f"; kernel log ({self._console}) ends: {' | '.join(spoken)}" if spoken else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def memory_directory(memory_mib: int) -> Path:
    """A directory for the file that is the guest's memory (unlinked as soon as it is made).

    Memory-backed if there is one with enough room, else a temporary directory on disk.
    """
    for directory in (Path("/dev/shm"), Path(tempfile.gettempdir())):
        if not os.access(directory, os.W_OK | os.X_OK):
            continue
        if shutil.disk_usage(directory).free >= memory_mib << 20:
            return directory
    raise HostUnavailableError(
        f"microvm: neither /dev/shm nor {tempfile.gettempdir()} has {memory_mib} MiB free "
        "for the guest's memory"
    )
