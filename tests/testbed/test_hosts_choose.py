"""Which host is taken on which machine, and what the user is told about it."""

import dataclasses
import io
import re

import pytest
from rich.console import Console

from testbed.doctor import Finding, conclude, render
from testbed.errors import HostUnavailableError
from testbed.hosts.choose import choose
from testbed.hosts.environment import REPOSITORY
from testbed.hosts.machine import KERNEL_TRIALS, TOOL_PACKAGES, Machine

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


@pytest.mark.parametrize(
    ("machine", "kind", "reason"),
    [
        (SERVER, "native", "root, and this kernel has veth, netem and bridges"),
        (LAPTOP, "microvm", "not native: not root"),
        (CONTAINER, "microvm", "not native: this kernel has no netem"),
    ],
)
def test_auto_takes_native_where_it_works_and_says_why_where_not(machine, kind, reason):
    choice = choose("auto", machine)
    assert (choice.kind, choice.reason) == (kind, reason)


def test_the_microvm_may_be_asked_for_where_native_would_work():
    assert choose("microvm", SERVER).kind == "microvm"


def test_native_is_refused_rather_than_replaced():
    with pytest.raises(HostUnavailableError, match=r"^native cannot run here: not root$"):
        choose("native", LAPTOP)


def test_root_without_the_right_to_make_namespaces_is_told_so():
    locked = dataclasses.replace(LAPTOP, root=True)
    with pytest.raises(HostUnavailableError, match=r"no network namespaces \(Operation not"):
        choose("native", locked)


def test_a_bare_machine_gets_one_command_that_names_each_package_once():
    with pytest.raises(HostUnavailableError) as refusal:
        choose("auto", BARE)
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
