"""Process 1 of the microVM: makes a Linux system around one command, then switches off.

Runs alone, before anything else exists in the guest, so it uses the standard library only and
is started by path: ``python -I -S guest_init.py REQUEST.json``. The request is what
``testbed.hosts.guest_boot.GuestCommand`` makes. Over the serial line it sends the supervisor
``ready`` and at the end ``status N`` or ``failed WHY``. In between it writes the time (monotonic
ns, as text) into the file ``clock`` at every tick: a sign of life, and how far the clock has come.
A file, because a write to it is done when it returns, however slowly the machine reads: a full
serial line would let the guest wait for the machine.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
import time
import tty
from pathlib import Path
from typing import Any

MS_RDONLY, MS_BIND = 1, 4096
RB_POWER_OFF, RB_DISABLE_CAD = 0x4321FEDC, 0
LISTENED_TO = {signal.SIGCHLD, signal.SIGINT}
"""A process has ended; the supervisor wants the command to end (Ctrl-Alt-Del, to the kernel)."""

SERIAL_LINE = "/dev/ttyS0"
MODULE_ROOT = Path("/run/modules")
MODULE_LOADER = Path("/run/modprobe")

libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """mount(2) itself, because mount(8) would split a path at its commas."""
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode()):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), target)


def call(*command: str) -> None:
    """Run one of the system's tools to its end."""
    pid = os.posix_spawnp(command[0], command, os.environ)
    if os.waitpid(pid, 0)[1]:
        raise OSError(f"`{' '.join(command)}` failed")


def make_system(request: dict[str, Any]) -> None:
    """Kernel file systems, private scratch space, and the host's directories on top of it."""
    mount("proc", "/proc", "proc")
    mount("sysfs", "/sys", "sysfs")
    for directory in request["scratch"]:
        make_directory(directory)
        mount("tmpfs", directory, "tmpfs")
    make_directory("/dev/pts")
    mount("devpts", "/dev/pts", "devpts", 0, "mode=620,ptmxmode=666")
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        Path("/dev", name).symlink_to(Path("/proc/self", target))
    for source, target, writable in request["mounts"]:
        make_directory(target)
        mount("host", target, "hostfs", 0 if writable else MS_RDONLY, source)


def make_directory(path: str) -> None:
    """A mount point, made where it is not there already (below a read-only root it must be)."""
    Path(path).mkdir(parents=True, exist_ok=True)


def name_the_guest(name: str) -> None:
    """A private /etc/hosts, so that programs may change it and find the guest's own name."""
    socket.sethostname(name)
    hosts, private_hosts = Path("/etc/hosts"), Path("/run/hosts")
    if hosts.exists():
        private_hosts.write_text(f"{hosts.read_text()}\n127.0.1.1 {name}\n")
        mount(str(private_hosts), str(hosts), "", MS_BIND)


def load_modules(tree: str, modules: list[str]) -> None:
    """Load kernel modules from the guest kernel's own tree, and let the kernel find others."""
    for place in ("lib", "usr/lib"):  # which of the two depends on how kmod was built
        (MODULE_ROOT / place).mkdir(parents=True)
        (MODULE_ROOT / place / "modules").symlink_to(tree)
    MODULE_LOADER.write_text(f'#!/bin/sh\nexec modprobe -d {MODULE_ROOT} "$@"\n')
    MODULE_LOADER.chmod(0o755)
    Path("/proc/sys/kernel/modprobe").write_text(str(MODULE_LOADER))
    call("modprobe", "-d", str(MODULE_ROOT), "-a", *modules)


def put_the_network_first() -> None:
    """Let the guest's network go before the processes of its hosts.

    A link's packets are passed on by this kernel thread whenever there are many. A real link does
    not wait for the processes that compute.
    """
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            if "(ksoftirqd/" in stat.read_text():
                os.sched_setscheduler(int(stat.parent.name), os.SCHED_FIFO, os.sched_param(1))


def start(request: dict[str, Any]) -> int:
    """Start the command in a session of its own, its output going to a file of the host."""
    pid = os.fork()
    if pid:
        return pid
    command = request["command"]
    try:
        os.setsid()
        output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, LISTENED_TO)
        os.chdir(request["cwd"])
        os.execvpe(command[0], command, request["env"])
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def wait(pid: int, clock: int, tick_s: float) -> int:
    """Reap every process of the guest until ``pid`` ends; its status as a shell gives it.

    On SIGINT ``pid`` is asked to end.
    """
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if not ended:
            os.pwrite(clock, b"%20d" % time.monotonic_ns(), 0)
            heard = signal.sigtimedwait(LISTENED_TO, tick_s)
            if heard is not None and heard.si_signo == signal.SIGINT:
                os.kill(pid, signal.SIGTERM)


def settle() -> None:
    """End every other process and write everything to the host."""
    os.kill(-1, signal.SIGKILL)
    os.sync()


def main() -> None:
    """Boot, run, say how it went, switch off."""
    request = json.loads(Path(sys.argv[1]).read_text())
    serial = os.open(SERIAL_LINE, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        tty.setraw(serial)
        os.environ.update(request["env"])
        signal.pthread_sigmask(signal.SIG_BLOCK, LISTENED_TO)
        libc.reboot(RB_DISABLE_CAD)  # a signal to this process instead
        make_system(request)
        name_the_guest(request["name"])
        if request["modules"]:
            load_modules(request["module_tree"], request["modules"])
        call("ip", "link", "set", "lo", "up")
        put_the_network_first()
        os.write(serial, b"ready\n")
        clock = os.open(request["clock"], os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        status = wait(start(request), clock, request["tick_s"])
        settle()
        os.write(serial, b"status %d\n" % status)
    except BaseException as error:
        os.write(serial, f"failed {error}\n".encode())
    finally:
        libc.reboot(RB_POWER_OFF)
        time.sleep(60)


main()
