"""Finds what a program has left on the machine that it runs on."""

import subprocess
from pathlib import Path


def interfaces() -> set[str]:
    """Network interfaces of this namespace."""
    return {each.name for each in Path("/sys/class/net").iterdir()}


def namespaces() -> int:
    """Network namespaces that have a process."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(link.readlink())
        except OSError:  # ended meanwhile
            continue
    return len(found)


def running(name: str) -> int:
    """Processes of that name."""
    names = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            names.append(comm.read_text().strip())
        except OSError:  # ended meanwhile
            continue
    return names.count(name)


def shells() -> list[str]:
    """Command lines of the shells that Mininet keeps, one for every node."""
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    return [line for line in listing.splitlines() if line.startswith("bash") and "mininet:" in line]
