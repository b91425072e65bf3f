"""Which host an experiment runs in, and why."""

from dataclasses import dataclass

from testbed.errors import HostUnavailableError
from testbed.hosts.host import Host
from testbed.hosts.machine import (
    EMULATION_TOOLS,
    MICROVM_TOOLS,
    TOOL_PACKAGES,
    Machine,
    examine_machine,
)
from testbed.hosts.microvm import MicroVm
from testbed.hosts.native import Native


@dataclass(frozen=True)
class Choice:
    """A host, and the reason in words a user understands."""

    host: Host
    reason: str

    @property
    def kind(self) -> str:
        """``native`` or ``microvm``."""
        return self.host.kind


def choose_host(wanted: str = "auto") -> Choice:
    """The host for ``--host auto|native|microvm`` on this machine.

    Raises HostUnavailableError, with the command that would help, where it cannot be had.
    """
    return choose(wanted, examine_machine())


def choose(wanted: str, machine: Machine) -> Choice:
    """The decision itself; ``auto`` takes native where it works, else the microVM."""
    against_native = obstacles_to_native(machine)
    against_microvm = obstacles_to_microvm(machine)
    if wanted in ("auto", "native") and not against_native:
        return Choice(Native(), "root, and this kernel has veth, netem and bridges")
    if wanted == "native":
        raise HostUnavailableError(_refusal(machine, {"native": against_native}))
    if not against_microvm:
        why = "as asked for" if wanted == "microvm" else f"not native: {'; '.join(against_native)}"
        return Choice(MicroVm(), why)
    obstacles = {"native": against_native, "microvm": against_microvm}
    if wanted == "microvm":
        del obstacles["native"]
    raise HostUnavailableError(_refusal(machine, obstacles))


def obstacles_to_native(machine: Machine) -> list[str]:
    """Why Mininet cannot run in place; empty where it can."""
    missing = [f"{tool} is not installed" for tool in machine.missing(EMULATION_TOOLS)]
    if not machine.root:
        return ["not root", *missing]
    if (refusal := machine.kernel["namespaces"]) is not None:
        return [f"no network namespaces ({refusal})", *missing]
    lacking = [what for what, why in machine.kernel.items() if why is not None]
    return [*([f"this kernel has no {', '.join(lacking)}"] if lacking else []), *missing]


def obstacles_to_microvm(machine: Machine) -> list[str]:
    """Why a User-Mode Linux guest cannot run; empty where it can."""
    missing = machine.missing((*EMULATION_TOOLS, *MICROVM_TOOLS))
    obstacles = [f"{tool} is not installed" for tool in missing]
    if not machine.guest_modules and "linux.uml" not in missing:
        obstacles.append("the user-mode-linux package has no kernel modules")
    return obstacles


def installation(machine: Machine) -> str | None:
    """The one command that installs every missing tool, None where none is missing."""
    packages = sorted({TOOL_PACKAGES[tool] for tool in machine.missing(tuple(TOOL_PACKAGES))})
    if not packages:
        return None
    sudo = "" if machine.root else "sudo "
    return f"{sudo}apt-get install --no-install-recommends {' '.join(packages)}"


def _refusal(machine: Machine, obstacles: dict[str, list[str]]) -> str:
    """One line per host that cannot run, and the command that would help if one would."""
    lines = [f"{kind} cannot run here: {'; '.join(why)}" for kind, why in obstacles.items()]
    command = installation(machine)
    return "\n".join([*lines, *([f"to install what is missing: {command}"] if command else [])])
