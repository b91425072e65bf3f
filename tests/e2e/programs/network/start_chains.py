"""Starts chains of 4, 8 and 64 hosts and stops them; reports the time it took and what is left."""

import time
from pathlib import Path

from tests.e2e.programs.facts import report
from tests.e2e.programs.machine import interfaces, shells
from topologies.emulation.network import EmulatedNetwork
from topologies.links.profiles import load_profile
from topologies.networks.shapes import chain


def main() -> None:
    before = interfaces()
    waited_s, heard = {}, {}
    for hosts in (4, 8, 64):
        names = [f"h{number}" for number in range(hosts)]
        began = time.monotonic()
        with EmulatedNetwork(chain(names, load_profile("fibre")), Path("logs")) as net:
            during = interfaces()
            last = net.data_ip(names[-1], towards=names[0])
            asked = time.monotonic()
            heard[hosts] = net[names[0]].cmd(f"ping -c 2 -i 0.2 -q {last}")
            asked = time.monotonic() - asked
        waited_s[hosts] = time.monotonic() - began - asked
    report(
        waited_s=waited_s,
        heard=heard,
        before=sorted(before),
        during=sorted(during),
        after=sorted(interfaces()),
        shells=shells(),
    )


if __name__ == "__main__":
    main()
