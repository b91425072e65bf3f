"""Has a guest run the shell command sys.argv[1] in the folder ``run``, and waits for its end."""

import sys
from pathlib import Path

from testbed.hosts.microvm import MicroVm, VirtualClock
from testbed.kernel.cache import find_kernel


def main() -> None:
    kernel = find_kernel()
    assert kernel is not None
    host = MicroVm(virtual=VirtualClock(kernel))
    host.run(["sh", "-c", sys.argv[1]], writable=Path("run"))


if __name__ == "__main__":
    main()
