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

from testbed.errors import GuestDiedError, HostUnavailableError
from testbed.hosts.cpu import claim_cpu
from testbed.hosts.environment import GUEST_ENVIRONMENT, REPOSITORY
from testbed.hosts.guest_processes import kill_guest
from testbed.hosts.host import output_file

KERNEL = "linux.uml"
MODULE_TREE = Path("/usr/lib/uml/modules")
MODULES = (
    "veth",
    "bridge",
    "ifb",
    "sch_netem",
    "sch_htb",
    "sch_ingress",
    "cls_matchall",
    "cls_u32",
    "act_mirred",
    "act_police",
)
SCRATCH = ("/run", "/tmp", "/dev/shm", "/var/log", "/var/tmp")
HIDDEN = (*SCRATCH, "/dev", "/proc", "/sys")
HEARTBEAT_S = 1.0
STATE_PREFIX = "concertina-guest-"
REQUEST = "request.json"
SUPERVISOR_S = 10.0  # it ends a guest by force after 3 s


@dataclass(frozen=True)
class MicroVm:
    """A guest's size and patience.

    ``memory_mib`` is what the guest believes to have; this machine gives it only what it touches.
    ``cpu`` is the one CPU of this machine it runs on, by default one that no other microVM has.
    A guest that is silent for ``boot_s`` at the start or ``watchdog_s`` later is ended.
    """

    kind: ClassVar[str] = "microvm"

    memory_mib: int = 3072
    cpu: int | None = None
    boot_s: float = 60.0
    watchdog_s: float = 30.0

    def run(
        self,
        command: Sequence[str],
        *,
        writable: Path,
        readable: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        output: Path | None = None,
    ) -> int:
        """Boot, run ``command``, switch off; see ``Host.run``.

        The kernel's own messages go to ``kernel.log`` beside ``output``.
        """
        with self.start(
            command, writable=writable, readable=readable, env=env, output=output
        ) as guest:
            return guest.wait()

    def start(
        self,
        command: Sequence[str],
        *,
        writable: Path,
        readable: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        output: Path | None = None,
    ) -> "RunningGuest":
        """Like ``run``, but returns at once; use the result as a context manager."""
        kernel = shutil.which(KERNEL)
        if kernel is None:
            raise HostUnavailableError(
                f"microvm: {KERNEL} is not installed; fix: sudo apt-get install user-mode-linux"
            )
        writable = writable.resolve(strict=True)
        log = output_file(output, writable)
        request = guest_request(command, writable, readable, env or {}, log)
        memory = memory_directory(self.memory_mib)
        state = Path(tempfile.mkdtemp(prefix=STATE_PREFIX, dir=_visible_temporary_directory()))
        (state / REQUEST).write_text(json.dumps(request))
        cpu, claim = claim_cpu(self.cpu)
        supervision = {
            "kernel": kernel_command(kernel, state, self.memory_mib),
            "env": {"TMPDIR": str(memory), "HOME": str(state)},
            "cpu": cpu,
            "console": str(log.with_name("kernel.log")),
            "boot_s": self.boot_s,
            "watchdog_s": self.watchdog_s,
            "state": str(state),
        }
        return RunningGuest(supervision, claim)


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
        lines = self._console.read_text(errors="replace").splitlines()
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


def kernel_command(kernel: str, state: Path, memory_mib: int) -> list[str]:
    """The guest kernel's command line."""
    init = Path(__file__).with_name("guest_init.py")
    return [
        kernel,
        f"mem={memory_mib}M",
        "root=/dev/root",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        "quiet",
        # 0.85 s of benchmarks for disks that the guest has not, and 512 terminals of 1990
        "initcall_blacklist=raid6_select_algo",
        "pty.legacy_count=0",
        "con=null",
        "con0=null,fd:1",
        "ssl=null",
        "ssl0=fd:{serial},fd:{serial}",  # the supervisor fills in its descriptor
        f"uml_dir={state}/",
        "umid=guest",
        f'init="{Path(sys.executable).resolve()}"',
        "--",
        "-I",
        "-S",
        f'"{init}"',
        f'"{state / REQUEST}"',
    ]


def guest_request(
    command: Sequence[str],
    writable: Path,
    readable: Sequence[Path],
    env: Mapping[str, str],
    output: Path,
) -> dict[str, Any]:
    """What ``guest_init`` is to do."""
    seen = [*readable, REPOSITORY, Path.cwd(), *python_paths()]
    return {
        "name": "microvm",
        "command": list(command),
        "cwd": str(Path.cwd()),
        "env": GUEST_ENVIRONMENT | dict(env),
        "output": str(output),
        "scratch": SCRATCH,
        "mounts": guest_mounts(writable, [path for path in seen if path.exists()]),
        "module_tree": str(MODULE_TREE),
        "modules": MODULES,
        "heartbeat_s": HEARTBEAT_S,
    }


def guest_mounts(writable: Path, readable: Sequence[Path]) -> list[tuple[str, bool]]:
    """Directories of this machine to mount again in the guest, as (path, writable), outer first.

    The root file system is there read-only already; what lies below a directory that the guest
    has for itself (/tmp, /run, ...) is not.
    """
    hidden = {path.resolve() for path in readable if _is_hidden(path.resolve())}
    mounts = {str(path): False for path in hidden} | {str(writable): True}
    return sorted(mounts.items(), key=lambda mount: mount[0].count("/"))


def python_paths() -> list[Path]:
    """Where this Python and its packages live."""
    return [Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent]


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


def _visible_temporary_directory() -> str:
    """A temporary directory that the guest sees while it boots: not below /dev."""
    directory = Path(tempfile.gettempdir()).resolve()
    return "/tmp" if directory.is_relative_to("/dev") else str(directory)


def _is_hidden(path: Path) -> bool:
    return any(path.is_relative_to(place) for place in HIDDEN)
