"""Runs a network with captures for a minute; says ``ready`` when all of it is there."""

import time
from pathlib import Path

from topologies.emulation.capture import Captures
from topologies.emulation.network import EmulatedNetwork
from topologies.links.profiles import load_profile
from topologies.networks.shapes import chain


def main() -> None:
    net = EmulatedNetwork(chain(["a", "b"], load_profile("lte")), Path("logs"))
    net.start()
    Captures(net, Path("captures"), Path("logs")).start()
    print("ready", flush=True)
    time.sleep(60)


if __name__ == "__main__":
    main()
