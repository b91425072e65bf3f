"""The kernel's source: the newest linux-source package of the distribution."""

import re
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import KernelUnavailableError
from testbed.kernel.recipe import LEAST_VERSION
from testbed.kernel.steps import follow

INSTALLED = Path("/usr/src")
PACKAGE = re.compile(r"^linux-source-(\d+(?:\.\d+)+)(?:\.tar\.\w+)?$")
QUERY_S = 60


@dataclass(frozen=True)
class KernelSource:
    """A source of the kernel: a package, or the archive that it has been installed as."""

    version: tuple[int, ...]
    package: str
    archive: Path | None = None

    def fetch(self, folder: Path, log: Path, advance: Callable[[float], None]) -> Path:
        """Get the archive, downloading into ``folder`` as an ordinary user; its path.

        ``advance`` is called with the share that has come, 0 to 1.
        """
        if self.archive is not None:
            return self.archive
        command = ["apt-get", "download", "-o", "APT::Status-Fd=1", self.package]
        follow(command, folder, log, lambda line: _advance(line, advance))
        (package,) = folder.glob("*.deb")
        follow(["dpkg", "-x", str(package), "package"], folder, log)
        package.unlink()
        archives = installed_sources(folder / "package" / "usr" / "src")
        if not archives or archives[0].archive is None:
            raise KernelUnavailableError(f"kernel: {self.package} has no archive of the source")
        return archives[0].archive


def choose_source() -> KernelSource | None:
    """Choose the newest source that will do, an installed one before a package to download."""
    return newest([*installed_sources(INSTALLED), *offered_sources()])


def newest(sources: Iterable[KernelSource]) -> KernelSource | None:
    """The first of the newest sources, None if all are too old."""
    fitting = (source for source in sources if source.version >= LEAST_VERSION)
    return max(fitting, key=lambda source: source.version, default=None)


def installed_sources(folder: Path) -> list[KernelSource]:
    """Find the archives in a folder; Ubuntu's lie one folder deeper."""
    patterns = ("linux-source-*.tar.*", "*/linux-source-*.tar.*")
    archives = sorted(archive for pattern in patterns for archive in folder.glob(pattern))
    return [
        KernelSource(version, archive.name.partition(".tar")[0], archive)
        for archive in archives
        if (version := _version(archive.name)) and archive.is_file()
    ]


def offered_sources() -> list[KernelSource]:
    """List the packages that apt knows; empty if its lists are absent."""
    command = ["apt-cache", "search", "--names-only", "^linux-source-[0-9]"]
    try:
        answer = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=QUERY_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    names = (line.partition(" ")[0] for line in answer.stdout.splitlines())
    return [KernelSource(version, name) for name in names if (version := _version(name))]


def _version(name: str) -> tuple[int, ...] | None:
    match = PACKAGE.match(name)
    return tuple(int(part) for part in match[1].split(".")) if match else None


def _advance(line: str, advance: Callable[[float], None]) -> None:
    """Apt's status lines are ``dlstatus:<item>:<percent>:<words>``."""
    fields = line.split(":")
    if fields[0] == "dlstatus" and len(fields) > 2:
        advance(float(fields[2]) / 100)
