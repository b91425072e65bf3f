"""Asks a kernel for its version and configuration, and checks both."""

import hashlib
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

from testbed.errors import BadKernelError
from testbed.kernel.cache import version_number
from testbed.kernel.guest_kernel import GuestKernel
from testbed.kernel.recipe import COMPILE_PRELOAD, LEAST_VERSION, PRELOAD_SOURCE, own_hash
from testbed.kernel.steps import follow

ANSWER_S = 10
ELF, SELF_NAME = b"\x7fELF", b"User Mode Linux"
# Built in: what every emulation asks of a kernel without modules, and what seeds its entropy.
NEEDED = (
    *("UML_TIME_TRAVEL_SUPPORT", "HIGH_RES_TIMERS", "LD_SCRIPT_DYN"),
    *("HOSTFS", "TMPFS", "DEVTMPFS", "UNIX98_PTYS", "SSL", "MCONSOLE"),
    *("NET_NS", "CFS_BANDWIDTH", "PACKET", "VETH", "BRIDGE"),
    *("NET_SCH_NETEM", "NET_SCH_HTB", "NET_SCH_INGRESS", "NET_CLS_MATCHALL"),
    *("NET_ACT_POLICE", "NET_ACT_MIRRED"),
)


def check_kernel(file: Path) -> tuple[str, str]:
    """Ask a kernel for its version and its configuration.

    Raises BadKernelError, in one line, where it is none that the guest could run.
    """
    _check_executable(file)
    version = _ask(file, "--version").strip()
    number = version_number(version)
    if len(number) < 2:
        raise BadKernelError(f"{file}: does not answer --version as User-Mode Linux does")
    configuration = _ask(file, "--showconfig")
    if "CONFIG_UML=y" not in configuration.splitlines():
        raise BadKernelError(f"{file}: does not answer --showconfig as User-Mode Linux does")
    if number < LEAST_VERSION:
        raise BadKernelError(f"{file}: is Linux {version}; needed is 6.6 or newer")
    lacking = lacking_symbols(configuration)
    if lacking:
        raise BadKernelError(f"{file}: its configuration lacks {lacking}")
    return version, configuration


def lacking_symbols(configuration: str) -> str:
    """The symbols that a kernel needs and this configuration has not, as a text; empty if none."""
    lines = set(configuration.splitlines())
    wanted = (f"CONFIG_{name}=y" for name in NEEDED)
    return ", ".join(line for line in wanted if line not in lines)


def describe(folder: Path, origin: Literal["built", "own"], built_from: str = "") -> GuestKernel:
    """Ask the kernel in ``folder``; its configuration is written beside it.

    ``built_from`` is the configuration hash of one that was built here.
    """
    executable = folder / "linux"
    version, configuration = check_kernel(executable)
    (folder / "config").write_text(configuration)
    with executable.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return GuestKernel(
        folder=folder,
        origin=origin,
        version=version,
        sha256=sha256,
        size_bytes=executable.stat().st_size,
        configuration_hash=built_from or own_hash(configuration.encode()),
    )


def make_preload(folder: Path, log: Path) -> None:
    """Compile the library to preload into ``folder``."""
    follow([*COMPILE_PRELOAD, "preload.so", str(PRELOAD_SOURCE)], folder, log)


def _check_executable(file: Path) -> None:
    if not file.is_file():
        raise BadKernelError(f"{file}: no such file")
    try:
        with file.open("rb") as opened:
            known = opened.read(len(ELF)) == ELF and SELF_NAME in opened.read()
    except OSError as error:
        raise BadKernelError(f"{file}: {error.strerror}") from error
    if not known:
        raise BadKernelError(f"{file}: is no User-Mode Linux kernel (`make ARCH=um` makes one)")


def _ask(file: Path, option: str) -> str:
    """Run the kernel and return its output; it runs in an empty folder and has nothing to read."""
    try:
        with tempfile.TemporaryDirectory(prefix="concertina-kernel-") as folder:
            answer = subprocess.run(
                [file.resolve(), option],
                cwd=folder,
                env={"HOME": folder, "TMPDIR": folder, "PATH": "/usr/bin:/bin"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=ANSWER_S,
            )
    except subprocess.TimeoutExpired as error:
        raise BadKernelError(f"{file}: {option} got no answer within {ANSWER_S} s") from error
    except OSError as error:
        raise BadKernelError(f"{file}: cannot be run: {error.strerror}") from error
    return answer.stdout.decode(errors="replace") if answer.returncode == 0 else ""
