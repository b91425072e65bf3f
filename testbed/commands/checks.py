"""``concertina test``: lint, types, the import contract, then every test.

Tests run as many at once as there are processors, guests on the virtual clock among them. Only
those that measure the machine's time (the marker ``real_clock``) have it to themselves.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from stage_node.repository import REPOSITORY
from testbed.errors import KernelUnavailableError
from testbed.hosts.environment import PACKAGES
from testbed.kernel.build import ensure_kernel


@dataclass(frozen=True)
class Check:
    """A check: its name, and the arguments of this Python that carry it out."""

    name: str
    arguments: tuple[str, ...]

    def run(self) -> bool:
        """Run it, its output straight to the terminal; returns True if it passed."""
        print(f"── {self.name}", flush=True)
        begin = time.monotonic()
        command = [sys.executable, *self.arguments]
        passed = subprocess.run(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL).returncode == 0
        verdict = "passed" if passed else "FAILED"
        print(f"   {verdict} in {time.monotonic() - begin:.1f} s\n", flush=True)
        return passed


LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
STATIC_CHECKS = (
    Check("lint (ruff)", ("-m", "ruff", "check", ".")),
    Check("format (ruff)", ("-m", "ruff", "format", "--check", ".")),
    Check("types (mypy)", ("-m", "mypy", *(f"--package={package}" for package in PACKAGES))),
    Check("imports (import-linter)", ("-c", LINT_IMPORTS)),
)
IDENTITY_TESTS = "tests/e2e/identity/test_identity.py"
IDENTITY_REPEATS = "CONCERTINA_IDENTITY"
UNDISTURBED = "real_clock"
SIDE_BY_SIDE = ("-n", "auto", "--dist", "worksteal")
ALL_TESTS = (
    Check(
        "tests, side by side (pytest)",
        ("-m", "pytest", *SIDE_BY_SIDE, "-m", f"not {UNDISTURBED}", f"--ignore={IDENTITY_TESTS}"),
    ),
    Check(  # apart: each run is made once, and repeated on a machine that is kept from working
        "tests of identity (pytest)",
        ("-m", "pytest", "-n", "auto", "--dist", "loadgroup", IDENTITY_TESTS),
    ),
    Check(
        "tests on the machine's clock, one at a time (pytest)", ("-m", "pytest", "-m", UNDISTURBED)
    ),
)


def run_checks(pytest_arguments: Sequence[str]) -> int:
    """Run every check, however the earlier ones went; 0 if all passed, else 1.

    With arguments, the tests that these select run as pytest alone would run them. pytest comes
    last, so that its own closing line is the one a reader sees first.
    """
    _provide_kernel()
    chosen = (Check("tests (pytest)", ("-m", "pytest", *pytest_arguments)),)
    tests = chosen if pytest_arguments else ALL_TESTS
    failed = [check.name for check in (*STATIC_CHECKS, *tests) if not check.run()]
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed", flush=True)
    return 1 if failed else 0


def run_identity(repeats: int) -> int:
    """Repeat the runs of the identity tests ``repeats`` times in all; 0 if all were identical."""
    if not _provide_kernel():
        return 1
    command = [sys.executable, "-m", "pytest", "--verbose", "--durations=0", IDENTITY_TESTS]
    environment = os.environ | {IDENTITY_REPEATS: str(repeats)}
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL
    ).returncode


def _provide_kernel() -> bool:
    """Build the guest's kernel where it is missing; says why where that cannot be."""
    try:
        ensure_kernel(Console())
    except KernelUnavailableError as error:
        print(error, flush=True)
        return False
    return True
