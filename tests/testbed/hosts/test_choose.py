"""Which host is taken on which machine, and what the user is told about it."""

import dataclasses
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from stage_node.repository import REPOSITORY
from testbed.commands.doctor import Finding, conclude, render
from testbed.errors import BadExperimentError, HostUnavailableError, KernelUnavailableError
from testbed.hosts.choose import NATIVE_IS_REAL, ChosenHost, HostWish, choose, tell_choice
from testbed.hosts.machine import KERNEL_TRIALS, TOOL_PACKAGES, Machine
from testbed.kernel.guest_kernel import GuestKernel

SERVER = Machine(
    root=True,
    tools={name: f"/usr/bin/{name}" for name in TOOL_PACKAGES},
    kernel=dict.fromkeys(KERNEL_TRIALS),
    guest_modules=True,
    cpus=2,
)
LAPTOP = dataclasses.replace(
    SERVER, root=False, kernel=dict.fromkeys(KERNEL_TRIALS, "Operation not permitted")
)
CONTAINER = dataclasses.replace(
    SERVER, kernel={**SERVER.kernel, "netem": "Specified qdisc kind is unknown."}
)
BARE = dataclasses.replace(
    LAPTOP,
    tools={**SERVER.tools, "mnexec": None, "linux.uml": None, "ip": None, "tc": None},
    guest_modules=False,
)


KERNEL = GuestKernel(
    folder=Path("/cache/6.12.117"),
    origin="built",
    version="6.12.117",
    sha256="5" * 64,
    size_bytes=1,
    configuration_hash="c" * 64,
)
ITS_OWN = f"the clock is virtual: nothing else on this machine disturbs it; Linux {KERNEL.version}"
IN_PLACE = "root, and this kernel has veth, netem and bridges"
UNBUILT = "kernel: no compiler; fix: apt-get install gcc"


def there() -> GuestKernel:
    return KERNEL


def absent() -> GuestKernel:
    raise KernelUnavailableError(UNBUILT)


def decision(choice: ChosenHost) -> tuple[str, str, str, str | None]:
    return choice.kind, choice.clock, choice.reason, choice.clock_reason


@pytest.mark.parametrize(
    ("host", "clock", "decided"),
    [
        ("auto", None, ("microvm", "virtual", ITS_OWN, None)),
        ("auto", "virtual", ("microvm", "virtual", ITS_OWN, None)),
        ("auto", "real", ("native", "real", IN_PLACE, None)),
        ("native", None, ("native", "real", IN_PLACE, NATIVE_IS_REAL)),
        ("native", "real", ("native", "real", IN_PLACE, None)),
        ("microvm", None, ("microvm", "virtual", ITS_OWN, None)),
        ("microvm", "virtual", ("microvm", "virtual", ITS_OWN, None)),
        ("microvm", "real", ("microvm", "real", "as asked for", None)),
    ],
)
def test_with_the_kernel_there_the_clock_is_virtual_unless_something_else_is_asked_for(
    host, clock, decided
):
    choice = choose(HostWish(host, clock), SERVER, there)
    assert decision(choice) == decided
    assert choice.kernel == (KERNEL if choice.clock == "virtual" else None)


@pytest.mark.parametrize(
    ("host", "clock", "decided"),
    [
        ("auto", None, ("native", "real", IN_PLACE, UNBUILT)),
        ("auto", "real", ("native", "real", IN_PLACE, None)),
        ("native", None, ("native", "real", IN_PLACE, NATIVE_IS_REAL)),
        ("native", "real", ("native", "real", IN_PLACE, None)),
        ("microvm", None, ("microvm", "real", "as asked for", UNBUILT)),
        ("microvm", "real", ("microvm", "real", "as asked for", None)),
    ],
)
def test_without_the_kernel_the_clock_is_real_and_whoever_did_not_ask_for_that_is_told_why(
    host, clock, decided
):
    assert decision(choose(HostWish(host, clock), SERVER, absent)) == decided


@pytest.mark.parametrize("host", ["auto", "microvm"])
def test_a_virtual_clock_that_was_asked_for_is_refused_rather_than_replaced(host):
    with pytest.raises(HostUnavailableError) as refusal:
        choose(HostWish(host, "virtual"), SERVER, absent)
    assert str(refusal.value) == f"the virtual clock cannot run here: {UNBUILT}"
    assert refusal.value.exit_status == 2


@pytest.mark.parametrize("kernel", [there, absent])
def test_the_native_host_cannot_have_a_virtual_clock_and_one_line_says_what_can(kernel):
    with pytest.raises(BadExperimentError) as refusal:
        choose(HostWish("native", "virtual"), SERVER, kernel)
    assert str(refusal.value) == (
        f"--clock virtual: {NATIVE_IS_REAL}; give --host microvm, or --clock real"
    )


@pytest.mark.parametrize("wish", [HostWish("native", pace=1), HostWish("microvm", "real", pace=1)])
def test_a_pace_is_of_the_virtual_clock_only(wish):
    with pytest.raises(BadExperimentError, match=r"^--pace: the real clock needs none"):
        choose(wish, SERVER, there)


def test_the_pace_reaches_the_clock():
    assert choose(HostWish(pace=2), SERVER, there).host.virtual.pace == 2


@pytest.mark.parametrize(
    "wish", [HostWish("native"), HostWish("auto", "real"), HostWish("microvm", "real")]
)
def test_nobody_builds_a_kernel_for_the_real_clock(wish):
    def built() -> GuestKernel:
        raise AssertionError("built for nothing")

    assert choose(wish, SERVER, built).clock == "real"


@pytest.mark.parametrize(
    ("machine", "kind", "reason"),
    [
        (SERVER, "native", IN_PLACE),
        (LAPTOP, "microvm", "not native: not root"),
        (CONTAINER, "microvm", "not native: this kernel has no netem"),
    ],
)
def test_on_the_real_clock_auto_takes_native_where_it_works_and_says_why_where_not(
    machine, kind, reason
):
    assert decision(choose(HostWish("auto", "real"), machine, there)) == (
        kind,
        "real",
        reason,
        None,
    )


@pytest.mark.parametrize("machine", [LAPTOP, CONTAINER])
def test_the_virtual_clock_needs_neither_root_nor_netem_nor_the_distributions_guest(machine):
    without = dataclasses.replace(
        machine, guest_modules=False, tools={**machine.tools, "linux.uml": None}
    )
    assert choose(HostWish(), without, there).clock == "virtual"


@pytest.mark.parametrize(
    ("choice", "lines"),
    [
        (choose(HostWish(), SERVER, there), [f"host: microvm ({ITS_OWN})"]),
        (
            choose(HostWish("microvm"), SERVER, absent),
            ["host: microvm (as asked for)", f"clock: real ({UNBUILT})"],
        ),
        (choose(HostWish("native", "real"), SERVER, there), [f"host: native ({IN_PLACE})"]),
    ],
)
def test_one_line_says_which_host_and_one_why_the_clock_is_not_its_own(choice, lines):
    console = Console(width=200, file=io.StringIO())
    tell_choice(choice, console)
    assert console.file.getvalue().splitlines() == lines


def test_native_is_refused_rather_than_replaced():
    with pytest.raises(HostUnavailableError, match=r"^native cannot run here: not root$"):
        choose(HostWish("native"), LAPTOP, there)


def test_root_without_the_right_to_make_namespaces_is_told_so():
    locked = dataclasses.replace(LAPTOP, root=True)
    with pytest.raises(HostUnavailableError, match=r"no network namespaces \(Operation not"):
        choose(HostWish("native"), locked, there)


def test_a_bare_machine_gets_one_command_that_names_each_package_once():
    with pytest.raises(HostUnavailableError) as refusal:
        choose(HostWish(), BARE, there)
    *why, fix = str(refusal.value).splitlines()
    assert [line.split()[0] for line in why] == ["native", "microvm"]
    assert fix.endswith(
        ": sudo apt-get install --no-install-recommends iproute2 mininet user-mode-linux"
    )


def test_the_doctor_shows_every_finding_and_the_conclusion():
    boot = Finding("a microVM boots", "yes, in 2.0 s", True, "microvm")
    findings = conclude(CONTAINER, boot, (Finding("system", "Debian", True),))
    page = _printed(findings)
    assert findings.usable and findings.choice.kind == "microvm"
    assert re.search(r"no .* kernel: netem .* Specified qdisc kind is unknown", page)
    assert re.search(r"ok .* a microVM boots", page)
    assert "--host auto would use microvm: not native: this kernel has no netem" in page
    assert "apt-get" not in page


def test_the_doctor_says_that_the_clock_would_be_virtual_where_its_kernel_is_there():
    boot = Finding("a microVM boots", "yes, in 2.0 s", True, "microvm")
    findings = conclude(SERVER, boot, (), KERNEL)
    assert findings.usable and findings.choice.kernel == KERNEL
    assert f"--host auto would use microvm: {ITS_OWN}" in _printed(findings)


def test_the_doctor_does_not_believe_in_a_microvm_that_did_not_boot():
    boot = Finding("a microVM boots", "the guest kernel ended", False, "microvm")
    findings = conclude(LAPTOP, boot, ())
    assert not findings.usable
    assert "No host works here. the guest kernel ended" in _printed(findings)


def test_the_doctor_gives_a_bare_machine_the_command():
    findings = conclude(BARE, None, ())
    assert not findings.usable
    assert "To install what is missing: sudo apt-get install" in _printed(findings)


def test_the_provisioning_script_installs_every_tool_that_is_looked_for():
    script = (REPOSITORY / "provision" / "system-packages").read_text()
    for tool, package in TOOL_PACKAGES.items():
        assert f"\n{tool}:{package}\n" in script


def _printed(findings) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(render(findings))
    return console.file.getvalue()
