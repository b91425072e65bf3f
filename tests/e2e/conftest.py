"""What every end-to-end test needs: a machine of its own to be root in."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stage_node.repository import REPOSITORY
from testbed.hosts.environment import PYTHON
from testbed.hosts.guest_boot import CODE, RUN
from testbed.hosts.microvm import MicroVm, VirtualClock
from testbed.kernel.cache import find_kernel
from testbed.kernel.guest_kernel import GuestKernel
from tests.e2e.programs.facts import FACTS

PROGRAMS = Path(__file__).with_name("programs")
PROGRAMS_IN_GUEST = PROGRAMS.relative_to(REPOSITORY)
"""Below the directory that a guest shares with this machine: so a module has one name in both."""


@dataclass(frozen=True)
class GuestResult:
    """How a command in a guest ended, and what it printed (standard output and error)."""

    status: int
    output: str


@dataclass(frozen=True)
class Guest:
    """Runs commands in microVMs, one boot each, sharing one writable directory.

    It is ``directory`` on this machine and ``guest_boot.RUN`` in the guest; commands start there,
    with this Python and its packages at hand.
    """

    directory: Path
    host: MicroVm

    def run(
        self, *command: str, env: Mapping[str, str] | None = None, seed: int = 1
    ) -> GuestResult:
        """One command, in one guest."""
        logs = self.directory / "logs"
        number = len(list(logs.glob("*.log"))) if logs.exists() else 0
        output = logs / f"command-{number}.log"
        status = self.host.run(command, writable=self.directory, env=env, output=output, seed=seed)
        return GuestResult(status, output.read_text() if output.exists() else "")

    def program(self, name: str, *arguments: str, seed: int = 1) -> GuestResult:
        """A file of ``tests/e2e/programs``; ``arguments`` are its sys.argv[1:]."""
        return self.run(*self.bring(name), *arguments, seed=seed)

    def facts(self, name: str, *arguments: str) -> Any:
        """What such a program, which must end well, tells by ``facts.report``."""
        result = self.program(name, *arguments)
        assert result.status == 0, result.output
        return json.loads((self.directory / FACTS).read_text())

    def bring(self, name: str) -> list[str]:
        """Copy the programs into the guest's directory; the command that runs one of them there.

        A guest has no copy of ``tests``, where they are, else.
        """
        here = self.directory / PROGRAMS_IN_GUEST
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROGRAMS, here, ignore=ignored, dirs_exist_ok=True)
        assert (here / name).exists(), f"there is no {PROGRAMS / name}"
        return ["env", f"PYTHONPATH={CODE}:{RUN}", PYTHON, str(PROGRAMS_IN_GUEST / name)]

    def module(self, name: str, *arguments: str) -> GuestResult:
        """``python -m name arguments``."""
        return self.run(PYTHON, "-m", name, *arguments)


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    """A place to run commands as root on the real clock; ``guest.directory`` is shared with this
    machine."""
    return Guest(_shared(tmp_path), MicroVm())


@pytest.fixture
def virtual_guest(tmp_path: Path) -> Guest:
    """The same on a clock of its own, which nothing else on this machine disturbs."""
    return Guest(_shared(tmp_path), virtual_host())


def virtual_host() -> MicroVm:
    """The microVM on the virtual clock; skips the test where its kernel is not built."""
    return MicroVm(virtual=VirtualClock(virtual_kernel()))


def virtual_kernel() -> GuestKernel:
    """The virtual clock's kernel; skips the test where it is not built."""
    kernel = find_kernel()
    if kernel is None:
        pytest.skip("the virtual clock's kernel is not built: `concertina kernel build`")
    return kernel


@pytest.fixture
def kernel() -> GuestKernel:
    """What a test asks for that has a command of ours run on the virtual clock."""
    return virtual_kernel()


def give_kernel(cache: Path) -> None:
    """Copy the virtual clock's kernel into another user's cache."""
    kernel = virtual_kernel()
    shutil.copytree(kernel.folder, cache / "concertina" / "kernels" / kernel.name)


def _shared(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir()
    return directory
