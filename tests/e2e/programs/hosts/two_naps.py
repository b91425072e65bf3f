"""Has a process nap in each of two emulated hosts; reports when each began and ended."""

from pathlib import Path

from testbed.hosts.environment import PYTHON
from tests.e2e.programs.facts import report
from topologies.emulation.network import EmulatedNetwork
from topologies.links.profiles import load_profile
from topologies.machine.namespaces import spawn_inside
from topologies.networks.shapes import chain

HOSTS = ("a", "b")
NAP = Path(__file__).with_name("nap.py")


def main() -> None:
    with EmulatedNetwork(chain(HOSTS, load_profile("lte")), Path("logs")) as net:
        naps = []
        for host in HOSTS:
            with said_by(host).open("wb") as out:
                naps.append(spawn_inside(net.host_pid(host), [PYTHON, str(NAP)], out, out))
        for nap in naps:
            nap.wait()
    report(**{host: [float(line) for line in said_by(host).open()] for host in HOSTS})


def said_by(host: str) -> Path:
    return Path(f"{host}.txt")


if __name__ == "__main__":
    main()
