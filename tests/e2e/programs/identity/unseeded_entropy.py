"""Runs ``concertina`` with a leak: no guest is told its seed."""

from stage_node.processes.seeds import SEED_VARIABLE
from testbed.commands.cli import main as concertina
from testbed.hosts.microvm import MicroVm

TOLD = MicroVm._clock_environment


def unseeded(host: MicroVm, seed: int) -> dict[str, str]:
    """What a guest is told, but for the seed."""
    return {name: value for name, value in TOLD(host, seed).items() if name != SEED_VARIABLE}


def main() -> None:
    MicroVm._clock_environment = unseeded  # type: ignore[method-assign, assignment]
    concertina()


if __name__ == "__main__":
    main()
