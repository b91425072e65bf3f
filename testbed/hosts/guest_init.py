"""Process 1 of the microVM: makes a Linux system around one command, then switches off.

Runs alone, before anything else exists in the guest, so it uses the standard library only and
is started by path: ``python -I -S guest_init.py REQUEST.json``. The request is what
``testbed.hosts.microvm.guest_request`` writes. Over the serial line it tells the supervisor
``ready``, then ``alive`` once per heartbeat, and at the end ``status N``.
"""

import ctypes
import json
import os
import shutil
import signal
import socket
import sys
import time
import tty

MS_RDONLY, MS_BIND = 1, 4096
RB_POWER_OFF = 0x4321FEDC
SERIAL_LINE = "/dev/ttyS0"
MODULE_ROOT = "/run/modules"
MODULE_LOADER = "/run/modprobe"

libc = ctypes.CDLL(None, use_errno=True)


def mount(source, target, kind, flags=0, options=""):
    """mount(2); plain system calls because mount(8) splits options at commas and blanks."""
    os.makedirs(target, exist_ok=True) if not os.path.exists(target) else None
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode()):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), target)


def make_system(request):
    """Kernel file systems, private scratch space, and the host's directories on top of it."""
    mount("proc", "/proc", "proc")
    mount("sysfs", "/sys", "sysfs")
    for directory in request["scratch"]:
        mount("tmpfs", directory, "tmpfs")
    mount("devpts", "/dev/pts", "devpts", 0, "mode=620,ptmxmode=666")
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        if not os.path.lexists(f"/dev/{name}"):
            os.symlink(f"/proc/self/{target}", f"/dev/{name}")
    for path, writable in request["mounts"]:
        mount("host", path, "hostfs", 0 if writable else MS_RDONLY, path)


def name_the_guest(name):
    """A private /etc/hosts, so that the guest's programs may change it and know their own name."""
    socket.sethostname(name)
    hosts = "/run/hosts"
    if os.path.exists("/etc/hosts"):
        shutil.copyfile("/etc/hosts", hosts)
        with open(hosts, "a") as file:
            file.write(f"\n127.0.1.1 {name}\n")
        mount(hosts, "/etc/hosts", "", MS_BIND)


def load_modules(tree, modules):
    """Load kernel modules from the guest kernel's own tree, and let the kernel find others."""
    for place in ("lib", "usr/lib"):
        os.makedirs(f"{MODULE_ROOT}/{place}")
        os.symlink(tree, f"{MODULE_ROOT}/{place}/modules")
    with open(MODULE_LOADER, "w") as loader:
        loader.write(f'#!/bin/sh\nexec modprobe -d {MODULE_ROOT} "$@"\n')
    os.chmod(MODULE_LOADER, 0o755)
    with open("/proc/sys/kernel/modprobe", "w") as setting:
        setting.write(MODULE_LOADER)
    loader = os.posix_spawnp(
        "modprobe", ["modprobe", "-d", MODULE_ROOT, "-a", *modules], os.environ
    )
    if os.waitpid(loader, 0)[1]:
        raise OSError(f"modprobe cannot load one of {' '.join(modules)}")


def start(request):
    """Start the command in a session of its own; its output goes to a file of the host."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.closerange(3, 64)
        os.chdir(request["cwd"])
        os.execvpe(request["command"][0], request["command"], request["env"])
    except OSError as error:
        print(f"{request['command'][0]}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(127)


def wait(pid, serial, heartbeat_s):
    """Reap every process of the guest until the command ends; its status as a shell would say."""
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if not ended:
            os.write(serial, b"alive\n")
            signal.sigtimedwait({signal.SIGCHLD}, heartbeat_s)


def switch_off():
    """End every process, write everything to the host, power off."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    os.kill(-1, signal.SIGKILL)
    os.sync()
    libc.reboot(RB_POWER_OFF)
    time.sleep(60)


def main():
    """Boot, run, say the status, switch off, whatever happens on the way."""
    with open(sys.argv[1]) as file:
        request = json.load(file)
    serial = os.open(SERIAL_LINE, os.O_RDWR | os.O_NOCTTY)
    try:
        tty.setraw(serial)
        os.environ.update(request["env"])
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        make_system(request)
        name_the_guest(request["name"])
        load_modules(request["module_tree"], request["modules"])
        libc_status = os.system("ip link set lo up")
        if libc_status:
            raise OSError("the loopback interface does not come up")
        os.write(serial, b"ready\n")
        status = wait(start(request), serial, request["heartbeat_s"])
        os.write(serial, b"status %d\n" % status)
    except BaseException as error:
        os.write(serial, f"failed {type(error).__name__}: {error}\n".encode())
    finally:
        switch_off()


main()
