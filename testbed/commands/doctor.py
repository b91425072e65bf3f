"""``concertina doctor``: what this machine offers, what would be used, what would fix the rest."""

import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from testbed.errors import HostUnavailableError, TestbedError
from testbed.hosts.choose import ChosenHost, HostWish, choose, installation, obstacles_to_microvm
from testbed.hosts.machine import (
    EMULATION_TOOLS,
    MEASURING_TOOLS,
    MICROVM_TOOLS,
    Machine,
    examine_machine,
)
from testbed.hosts.microvm import KERNEL_HELPS, MicroVm, VirtualClock
from testbed.kernel.cache import find_kernel
from testbed.kernel.guest_kernel import GuestKernel
from testbed.kernel.status import absence
from topologies.machine.cpu_share import obstacle

GIB = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One row: what was looked for, what was found, whether that will do, who needs it."""

    subject: str
    found: str
    good: bool
    needed_by: str = ""


@dataclass(frozen=True)
class Findings:
    """Everything found, and the conclusion.

    ``choice`` is the host that ``--host auto`` would take, None if none works; ``verdict``
    says it in words; ``fix`` is the one command that installs what is missing.
    """

    rows: tuple[Finding, ...]
    choice: ChosenHost | None
    verdict: str
    fix: str | None

    @property
    def usable(self) -> bool:
        """Return True if an experiment can run here."""
        return self.choice is not None


def examine() -> Findings:
    """Look at this machine; boots one microVM to see that it works."""
    machine = examine_machine()
    kernel = find_kernel()
    virtual = VirtualClock(kernel) if kernel else None
    can_boot = virtual is not None or not obstacles_to_microvm(machine)
    boot = _try_boot(MicroVm(virtual=virtual)) if can_boot else None
    return conclude(machine, boot, (*_surroundings(), *_kernel_rows()), kernel)


def conclude(
    machine: Machine,
    boot: Finding | None,
    surroundings: tuple[Finding, ...],
    kernel: GuestKernel | None = None,
) -> Findings:
    """Put the facts together. ``boot`` is the trial of the microVM, None if it was not tried;
    ``kernel`` is that of the virtual clock, None if it is still to be built."""
    rows = (*surroundings, *_tool_rows(machine), *_native_rows(machine), *_microvm_rows(machine))
    fix = installation(machine)
    try:
        choice = choose(HostWish(), machine, lambda: _there(kernel))
    except TestbedError as error:
        return Findings(rows, None, str(error), fix)
    rows = (*rows, boot) if boot else rows
    if choice.kind == "microvm" and boot and not boot.good:
        if KERNEL_HELPS in boot.found:
            why = "microvm: on the virtual clock, once its kernel is built: concertina kernel build"
            return Findings(rows, choice, why, fix)
        return Findings(rows, None, boot.found, fix)
    return Findings(rows, choice, f"{choice.kind}: {choice.reason}", fix)


def render(findings: Findings) -> RenderableType:
    """The table, the conclusion, and the fix if there is one."""
    table = Table(title="What Concertina found on this machine", title_justify="left")
    for heading in ("", "what", "found", "needed by"):
        table.add_column(heading, overflow="fold")
    for row in findings.rows:
        mark = Text("ok", "green") if row.good else Text("no", "yellow")
        table.add_row(mark, row.subject, Text(row.found), row.needed_by)
    lines = [Text(f"--host auto would use {findings.verdict}", "bold")]
    if not findings.usable:
        lines = [Text(f"No host works here. {findings.verdict}", "bold red")]
    if findings.fix:
        lines.append(Text(f"To install what is missing: {findings.fix}"))
    return Group(table, *lines)


def _surroundings() -> tuple[Finding, ...]:
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    python_good = sys.version_info >= (3, 11)
    return (
        Finding("system", f"{_distribution()}, Linux {platform.release()}", True),
        Finding("python", platform.python_version(), python_good, "everything"),
        *(_package(name) for name in ("torch", "mininet")),
        Finding("memory", f"{memory_bytes / GIB:.1f} GiB", memory_bytes >= 4 * GIB),
    )


def _tool_rows(machine: Machine) -> list[Finding]:
    needed_by = dict.fromkeys(MEASURING_TOOLS, "fidelity")
    needed_by |= dict.fromkeys(EMULATION_TOOLS, "both hosts")
    return [_tool(machine, name, who) for name, who in needed_by.items()]


def _native_rows(machine: Machine) -> list[Finding]:
    user = "yes" if machine.root else f"no, user {os.geteuid()}"
    return [
        Finding("root", user, machine.root, "native"),
        *(
            Finding(f"kernel: {what}", why or "works", why is None, "native")
            for what, why in machine.kernel.items()
        ),
        _cpu_shares(),
    ]


def _cpu_shares() -> Finding:
    """Only experiments with ``network.cpu_share`` ask for it; the guest's kernel always has it."""
    why = obstacle(Path("/proc/self/mounts").read_text(), Path("/proc/cgroups").read_text())
    return Finding("kernel: CPU shares", why or "works", why is None, "native, cpu_share")


def _microvm_rows(machine: Machine) -> list[Finding]:
    modules = "installed" if machine.guest_modules else "not found"
    shm = Path("/dev/shm")
    free_bytes = shutil.disk_usage(shm).free if shm.is_dir() else 0
    enough = free_bytes >= MicroVm().memory_mib << 20
    place = "" if enough else f"; the guest's memory will be a file in {tempfile.gettempdir()}"
    return [
        *(_tool(machine, name, "microvm") for name in MICROVM_TOOLS),
        Finding("guest kernel modules", modules, machine.guest_modules, "microvm"),
        Finding("/dev/shm", f"{free_bytes / GIB:.1f} GiB free{place}", enough, "microvm"),
        Finding("CPUs", f"{machine.cpus}, one for each microVM at work", True, "microvm"),
    ]


def _kernel_rows() -> list[Finding]:
    """The kernel with a clock of its own; without one the microVM's clock is the real one."""
    subject, who = "virtual clock", "microvm"
    kernel = find_kernel()
    if kernel is not None:
        return [Finding(subject, f"Linux {kernel.version}, {kernel.folder}", True, who)]
    return [Finding(subject, line, False, who) for line in absence()]


def _tool(machine: Machine, name: str, needed_by: str) -> Finding:
    path = machine.tools[name]
    return Finding(name, path or "not installed", path is not None, needed_by)


def _package(name: str) -> Finding:
    try:
        return Finding(name, version(name), True, "everything")
    except PackageNotFoundError:
        return Finding(name, "not installed in this Python", False, "everything")


def _there(kernel: GuestKernel | None) -> GuestKernel:
    if kernel is None:
        raise HostUnavailableError("the virtual clock's kernel is not built yet")
    return kernel


def _try_boot(host: MicroVm) -> Finding:
    subject = "a microVM boots"
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="concertina-doctor-") as directory:
        try:
            status = host.run(["true"], writable=Path(directory))
        except TestbedError as error:
            return Finding(subject, str(error), False, "microvm")
    seconds = time.monotonic() - begin
    found = f"yes, boot to power-off in {seconds:.1f} s" if status == 0 else f"status {status}"
    return Finding(subject, found, status == 0, "microvm")


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "unknown distribution"
