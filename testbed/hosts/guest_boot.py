"""The boot of a guest: its kernel's command line, its directories, its command.

The guest has the machine's directories at paths of its own, the same ones for every run, user and
checkout. On the virtual clock this is not a matter of taste: the kernel mixes its command line into
its entropy, and a path of another length takes another number of clock reads, 256 ns each.
"""

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.hosts.code_copy import code_copy
from testbed.hosts.environment import emulation_environment

GUEST_ROOT = Path("/run/concertina")
RUN = GUEST_ROOT / "run"
"""Where a guest sees the one directory that it may write."""

CODE, PYTHON_PREFIX, STATE = GUEST_ROOT / "code", GUEST_ROOT / "python", GUEST_ROOT / "state"
REQUEST, INIT, INTERPRETER, CLOCK = "request.json", "init.py", "python", "clock"
SCRATCH = ("/run", "/tmp", "/dev/shm", "/var/log", "/var/tmp")
HIDDEN = (*SCRATCH, "/dev", "/proc", "/sys")
STATE_PREFIX = "concertina-guest-"
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
BOOT_NS = 1_767_225_600 * 10**9
"""When every virtual clock begins: 2026-01-01, 0:00 UTC."""

SERIAL_FD = 200
"""The kernel's end of the serial line; a number of its own, for it stands on the command line."""

REAL_TICK_S, VIRTUAL_TICK_S = 1.0, 0.1


@dataclass(frozen=True)
class GuestCommand:
    """One command of a guest; see ``Host.run``. ``virtual``: its clock is."""

    command: Sequence[str]
    writable: Path
    readable: Mapping[str, Path]
    env: Mapping[str, str]
    output: Path
    seed: int
    virtual: bool

    def request(self, state: Path) -> dict[str, Any]:
        """The request to ``guest_init``; ``state`` is the guest's directory on this machine."""
        seen = {name: GUEST_ROOT / "readable" / name for name in sorted(self.readable)}
        places = {
            CODE: (code_copy(CODE, state), False),
            PYTHON_PREFIX: (Path(sys.prefix), False),
            STATE: (state, True),
            **{seen[name]: (self.readable[name], False) for name in seen},
            RUN: (self.writable, True),
        }
        surroundings = emulation_environment(CODE, PYTHON_PREFIX, self.seed)
        return {
            "name": "microvm",
            "command": list(self.command),
            "cwd": str(RUN),
            "env": surroundings | {name: str(path) for name, path in seen.items()} | {**self.env},
            "output": str(RUN / self.output.relative_to(self.writable)),
            "scratch": SCRATCH,
            "mounts": [
                *hidden_installation(),
                *((str(path.resolve()), str(at), rw) for at, (path, rw) in places.items()),
            ],
            "module_tree": str(MODULE_TREE),
            "modules": [] if self.virtual else MODULES,
            "clock": str(STATE / CLOCK),
            "tick_s": VIRTUAL_TICK_S if self.virtual else REAL_TICK_S,
        }


def hidden_installation() -> list[tuple[str, str, bool]]:
    """Mounts, read-only, of what this Python needs and the guest's own directories would hide."""
    needed = {Path(sys.base_prefix).resolve(), Path(sys.executable).resolve().parent}
    return [
        (str(path), str(path), False)
        for path in sorted(needed)
        if any(path.is_relative_to(place) for place in HIDDEN)
    ]


def prepare_state(command: GuestCommand) -> Path:
    """Make the directory that a guest boots from: its init, its Python, its request."""
    state = Path(tempfile.mkdtemp(prefix=STATE_PREFIX, dir=_visible_temporary_directory()))
    (state / INIT).symlink_to(Path(__file__).with_name("guest_init.py"))
    (state / INTERPRETER).symlink_to(Path(sys.executable).resolve())
    (state / REQUEST).write_text(json.dumps(command.request(state)))
    return state


def kernel_command(kernel: Path, memory_mib: int, virtual: bool) -> list[str]:
    """The guest kernel's command line, to be run in the directory that ``prepare_state`` made.

    Nothing in it differs from run to run, checkout to checkout, user to user.
    """
    here = "/proc/self/cwd"  # this machine's: while it boots, the guest has no /proc of its own
    return [
        str(kernel),
        f"mem={memory_mib}M",
        "root=/dev/root",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        "quiet",
        *(("time-travel=inf-cpu", f"time-travel-start={BOOT_NS}", "norandmaps") * virtual),
        "fb_tunnels=none",  # else every network namespace has a tunnel that nothing uses
        # 0.85 s of benchmarks for disks that the guest has not, and 512 terminals of 1990
        "initcall_blacklist=raid6_select_algo",
        "pty.legacy_count=0",
        "con=null",
        "con0=null,fd:1",
        "ssl=null",
        f"ssl0=fd:{SERIAL_FD},fd:{SERIAL_FD}",
        "uml_dir=./",
        "umid=guest",
        f"init={here}/{INTERPRETER}",
        "--",
        "-I",
        "-S",
        f"{here}/{INIT}",
        f"{here}/{REQUEST}",
    ]


def _visible_temporary_directory() -> str:
    """A temporary directory that the guest sees while it boots: not below /dev."""
    directory = Path(tempfile.gettempdir()).resolve()
    return "/tmp" if directory.is_relative_to("/dev") else str(directory)
