"""Has a guest do what only root may, in the folder ``run``; says who asked, and how it ended."""

import os
from pathlib import Path

from testbed.hosts.microvm import MicroVm, VirtualClock
from testbed.kernel.cache import find_kernel

AS_ROOT = "id -u; ip link add name v0 type veth && echo made; touch made-in-guest"


def main() -> None:
    os.chdir("run")
    kernel = find_kernel()
    assert kernel is not None
    host = MicroVm(virtual=VirtualClock(kernel))
    print(os.geteuid(), host.run(["sh", "-c", AS_ROOT], writable=Path.cwd()))


if __name__ == "__main__":
    main()
