"""The committed hashes of the identity runs: ``python -m tests.e2e.identity.golden`` makes them.

They hold for one kernel, Python and torch, and for one state of the code: whatever asks for the
time once more moves every stamp behind it by 256 ns. A change that is meant to change nothing on
the wires shows by them that it does not; any other makes them anew, and says so in its commit.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from analysis.compare.identity import Fingerprint, fingerprint
from stage_node.repository import REPOSITORY
from testbed.kernel.cache import find_kernel

EXPERIMENTS = Path(__file__).parent
FILE = EXPERIMENTS / "golden.json"
CHARGED_BY_THIS_MACHINE = frozenset({"control"})
"""Runs whose devices are charged by a table that each machine measures for itself."""


def made_with() -> str:
    """What the hashes depend on besides the code."""
    kernel = find_kernel()
    assert kernel is not None, "no kernel with a virtual clock here: concertina kernel build"
    python, torch = platform.python_version(), version("torch")
    return f"kernel {kernel.name}, Python {python}, torch {torch}"


def known() -> dict[str, dict[str, Fingerprint]]:
    """The committed hashes, by what they were made with, by experiment."""
    return {
        place: {name: Fingerprint(**each) for name, each in runs.items()}
        for place, runs in json.loads(FILE.read_text()).items()
    }


def run(name: str, out: Path, *options: str) -> Path:
    """Run an experiment of the identity tests on the virtual clock; its run directory."""
    file = str(EXPERIMENTS / f"{name}.yaml")
    command = ("run", file, "--clock", "virtual", "--out", str(out), *options)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "testbed", *command],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return out


def main() -> None:
    """Run what has hashes and write them."""
    names = sorted({file.stem for file in EXPERIMENTS.glob("*.yaml")} - {"board"})
    hashes = {place: {n: asdict(f) for n, f in runs.items()} for place, runs in known().items()}
    with tempfile.TemporaryDirectory() as place:
        hashes[made_with()] = {
            name: asdict(fingerprint(run(name, Path(place) / name)))
            for name in names
            if name not in CHARGED_BY_THIS_MACHINE
        }
    FILE.write_text(json.dumps(hashes, indent=2) + "\n")


if __name__ == "__main__":
    main()
