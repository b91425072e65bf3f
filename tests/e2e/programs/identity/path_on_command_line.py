"""Runs ``concertina`` with a leak: a path of this machine on the kernel's command line."""

from pathlib import Path

from testbed.commands.cli import main as concertina
from testbed.hosts import guest_boot, microvm

TOLD = guest_boot.kernel_command


def leaking(kernel: Path, memory_mib: int, virtual: bool) -> list[str]:
    """The command line with one word more."""
    words = TOLD(kernel, memory_mib, virtual)
    words.insert(words.index("--"), "from=/home/somebody")
    return words


def main() -> None:
    microvm.kernel_command = leaking  # type: ignore[attr-defined]
    concertina()


if __name__ == "__main__":
    main()
