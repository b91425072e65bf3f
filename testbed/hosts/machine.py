"""Abilities of this machine that an emulation needs, found by trying."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from testbed.hosts.guest_boot import MODULE_TREE
from testbed.hosts.microvm import KERNEL

TOOL_PACKAGES: Mapping[str, str] = {
    "mnexec": "mininet",
    "ip": "iproute2",
    "tc": "iproute2",
    "tcpdump": "tcpdump",
    "ethtool": "ethtool",
    "ping": "iputils-ping",
    "iperf3": "iperf3",
    "modprobe": "kmod",
    KERNEL: "user-mode-linux",
}
EMULATION_TOOLS = ("mnexec", "ip", "tc", "tcpdump", "ethtool", "ping")
MICROVM_TOOLS = (KERNEL, "modprobe")
MEASURING_TOOLS = ("iperf3", "ping")  # of `concertina fidelity`, in either host

# Each in a network namespace that is gone when the shell ends.
KERNEL_TRIALS: Mapping[str, str] = {
    "namespaces": "ip link set lo up",
    "veth": "ip link add name trial0 type veth peer name trial1",
    "netem": "tc qdisc add dev lo root netem rate 1mbit delay 1ms",
    "mirred and police": (
        "tc qdisc add dev lo ingress && tc filter add dev lo ingress matchall "
        "action police rate 1mbit burst 10kb conform-exceed drop/pipe "
        "action mirred egress redirect dev lo"
    ),
    "bridge": "ip link add name trial2 type bridge",
}


@dataclass(frozen=True)
class Machine:
    """Facts about this machine.

    ``tools`` maps a program to its path, None if it is missing. ``kernel`` maps each thing
    that an emulation asks of the running kernel to None if it works, else to what was said.
    """

    root: bool
    tools: Mapping[str, str | None]
    kernel: Mapping[str, str | None]
    guest_modules: bool
    cpus: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))

    def missing(self, tools: tuple[str, ...]) -> list[str]:
        """List the programs among ``tools`` that are not installed."""
        return [name for name in tools if self.tools.get(name) is None]


def examine_machine() -> Machine:
    """Look for the tools, and try the kernel in throw-away network namespaces."""
    path = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
    return Machine(
        root=os.geteuid() == 0,
        tools={name: shutil.which(name, path=path) for name in TOOL_PACKAGES},
        kernel={name: _try_kernel(script) for name, script in KERNEL_TRIALS.items()},
        guest_modules=any(MODULE_TREE.glob("*/modules.dep")),
    )


def _try_kernel(script: str) -> str | None:
    """Try ``script`` in a fresh network namespace; returns None if it works, else why not."""
    command = ["unshare", "--net", "sh", "-c", f"PATH=$PATH:/usr/sbin:/sbin; {script}"]
    try:
        trial = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if trial.returncode == 0:
        return None
    return " ".join(trial.stderr.split()) or f"exit status {trial.returncode}"
