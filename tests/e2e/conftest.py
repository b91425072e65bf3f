"""What every end-to-end test needs: a machine of its own to be root in."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed.hosts.microvm import MicroVm


@dataclass(frozen=True)
class GuestResult:
    """How a command in a guest ended, and what it printed (standard output and error)."""

    status: int
    output: str


@dataclass(frozen=True)
class Guest:
    """Runs commands in microVMs, one boot each (about 2 s), sharing one writable directory.

    Commands start in the repository's root with this Python's packages at hand.
    """

    directory: Path

    def run(self, *command: str, env: Mapping[str, str] | None = None) -> GuestResult:
        """One command, in one guest."""
        logs = self.directory / "logs"
        number = len(list(logs.glob("*.log"))) if logs.exists() else 0
        output = logs / f"command-{number}.log"
        status = MicroVm().run(command, writable=self.directory, env=env, output=output)
        return GuestResult(status, output.read_text() if output.exists() else "")

    def python(self, code: str, *arguments: str) -> GuestResult:
        """A Python program given as text; ``arguments`` are its sys.argv[1:]."""
        return self.run(sys.executable, "-c", code, *arguments)

    def module(self, name: str, *arguments: str) -> GuestResult:
        """``python -m name arguments``."""
        return self.run(sys.executable, "-m", name, *arguments)


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    """A place to run commands as root; ``guest.directory`` is shared with this machine."""
    directory = tmp_path / "run"
    directory.mkdir()
    return Guest(directory)
