"""Random numbers of a process: all from the seed of its run and its own name."""

import os
import random
import sys
import time
from hashlib import sha256

SEED_VARIABLE = "CONCERTINA_SEED"
START_S = 0.01
"""Largest time, s, between the beginnings of a run's processes: hosts that begin at the same
nanosecond, as they would where computing takes no time, are one case of many, and a rare one."""


def begin_as_seeded(name: str) -> None:
    """Seed the generators of Python, numpy and torch, and wait for the process's own start.

    Without a seed in the environment nothing is changed. Libraries that were not imported are left
    alone.
    """
    if SEED_VARIABLE not in os.environ:
        return
    seed = seed_of(int(os.environ[SEED_VARIABLE]), name)
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    time.sleep(random.random() * START_S)


def seed_of(run_seed: int, name: str) -> int:
    """Seed (63 bits) of the process ``name`` in a run of this seed."""
    digest = sha256(f"{run_seed} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
