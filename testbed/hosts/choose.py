"""The choice of an experiment's host and clock, with its reason."""

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

from stage_node.records.vocabulary import ClockKind
from testbed.errors import BadExperimentError, HostUnavailableError
from testbed.hosts.host import Host
from testbed.hosts.machine import (
    EMULATION_TOOLS,
    MICROVM_TOOLS,
    TOOL_PACKAGES,
    Machine,
    examine_machine,
)
from testbed.hosts.microvm import MicroVm, VirtualClock
from testbed.hosts.native import Native
from testbed.kernel.guest_kernel import GuestKernel

NATIVE_IS_REAL = "the native host has the real clock only"


@dataclass(frozen=True)
class HostWish:
    """A user's request: ``host`` is ``auto``, ``native`` or ``microvm``; without a ``clock``
    the virtual one where it can be had. ``pace``: see ``VirtualClock``."""

    host: str = "auto"
    clock: ClockKind | None = None
    pace: float | None = None


@dataclass(frozen=True)
class ChosenHost:
    """A host, and the reason in words a user understands; why its clock is not virtual, where that
    is not what was asked for."""

    host: Host
    reason: str
    clock_reason: str | None = None

    @property
    def kind(self) -> str:
        """``native`` or ``microvm``."""
        return self.host.kind

    @property
    def kernel(self) -> GuestKernel | None:
        """The kernel of the virtual clock; None on the real one."""
        virtual = self.host.virtual if isinstance(self.host, MicroVm) else None
        return virtual.kernel if virtual else None

    @property
    def pace(self) -> float | None:
        """Virtual seconds per real second, at most; None without a bound."""
        virtual = self.host.virtual if isinstance(self.host, MicroVm) else None
        return virtual.pace if virtual else None

    @property
    def clock(self) -> ClockKind:
        """Kind of clock: the emulation's own, or the machine's."""
        return "virtual" if self.kernel else "real"


def choose_host(wish: HostWish, kernel: Callable[[], GuestKernel]) -> ChosenHost:
    """The host that a wish comes to on this machine; ``kernel`` finds or builds that of the virtual
    clock.

    Raises HostUnavailableError, with the command that would help, where it cannot be had.
    """
    return choose(wish, examine_machine(), kernel)


def choose(wish: HostWish, machine: Machine, kernel: Callable[[], GuestKernel]) -> ChosenHost:
    """The decision itself; ``auto`` takes the microVM on the virtual clock, whose figures nothing
    else on the machine disturbs; where that cannot be had, native where it works, else the microVM
    on the real clock."""
    check_wish(wish)
    against_native = obstacles_to_native(machine)
    against_virtual: list[str] = []
    if wish.host != "native" and wish.clock != "real":
        virtual = _virtual(wish, machine, kernel)
        if isinstance(virtual, ChosenHost):
            return virtual
        against_virtual = virtual
        if wish.clock == "virtual":
            raise HostUnavailableError(_refusal(machine, {"the virtual clock": against_virtual}))
    clock_reason = "; ".join(against_virtual) or None
    if wish.host == "native" and wish.clock is None:
        clock_reason = NATIVE_IS_REAL
    if wish.host in ("auto", "native") and not against_native:
        return ChosenHost(
            Native(), "root, and this kernel has veth, netem and bridges", clock_reason
        )
    if wish.host == "native":
        raise HostUnavailableError(_refusal(machine, {"native": against_native}))
    against_microvm = obstacles_to_microvm(machine)
    if not against_microvm:
        asked = wish.host == "microvm"
        why = "as asked for" if asked else f"not native: {'; '.join(against_native)}"
        return ChosenHost(MicroVm(), why, clock_reason)
    obstacles = {"native": against_native, "microvm": against_microvm}
    if wish.host == "microvm":
        del obstacles["native"]
    raise HostUnavailableError(_refusal(machine, obstacles))


def tell_choice(choice: ChosenHost, console: Console) -> None:
    """Print the host, and why its clock is the real one where that was not asked for."""
    console.print(f"host: {choice.kind} ({choice.reason})", highlight=False, markup=False)
    if choice.clock_reason:
        console.print(f"clock: real ({choice.clock_reason})", highlight=False, markup=False)


def check_wish(wish: HostWish) -> None:
    """Raises BadExperimentError for what no machine could do."""
    if wish.host == "native" and wish.clock == "virtual":
        raise BadExperimentError(
            f"--clock virtual: {NATIVE_IS_REAL}; give --host microvm, or --clock real"
        )
    if wish.pace is not None and (wish.host == "native" or wish.clock == "real"):
        raise BadExperimentError("--pace: the real clock needs none; it is of the virtual clock")


def _virtual(
    wish: HostWish, machine: Machine, kernel: Callable[[], GuestKernel]
) -> ChosenHost | list[str]:
    """The microVM on the virtual clock, or why it cannot be had."""
    missing = [f"{tool} is not installed" for tool in machine.missing(EMULATION_TOOLS)]
    if missing:
        return missing
    try:
        built = kernel()
    except HostUnavailableError as error:
        return [str(error)]
    why = f"the clock is virtual: nothing else on this machine disturbs it; Linux {built.version}"
    return ChosenHost(MicroVm(virtual=VirtualClock(built, wish.pace)), why)


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
    """The one command that installs every missing tool; None if all are there."""
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
