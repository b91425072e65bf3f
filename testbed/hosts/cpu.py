"""Claims of CPUs: one for each guest, so that several guests run side by side.

Unpinned, one boot in five was about four times slower; pinned to one CPU none of 16 was.

A claim is a name in the abstract socket namespace (unix(7)), ``concertina/cpu<CPU>/<turn>``: it
leaves no file behind, is shared by all users, and ends with the process that made it. Claims in
other network namespaces, a container's, are not seen.
"""

import os
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CLAIMS = "concertina"
WAIT_S = 0.25


def claim_cpu(cpu: int | None = None) -> tuple[int, socket.socket]:
    """A CPU that this process may use and fewest microVMs have, or ``cpu`` itself.

    The claim lasts until the returned socket is closed or this process ends.
    """
    allowed = sorted(os.sched_getaffinity(0), reverse=True) if cpu is None else [cpu]
    while True:
        taken = _claims()
        turns = Counter(each for each, _ in taken)
        chosen = min(allowed, key=lambda candidate: turns[candidate])
        free = next(turn for turn in range(len(taken) + 1) if (chosen, turn) not in taken)
        claim = _claim(chosen, free)
        if claim is not None:  # else another process was quicker
            return chosen, claim


@contextmanager
def own_cpu(give_up: Callable[[], bool] = lambda: False) -> Iterator[int | None]:
    """Wait for a CPU without a claim; yields it, or None if ``give_up`` says so first.

    Other callers never get this CPU meanwhile, and a guest that is started by a process pinned
        to it runs on it.
    """
    while not give_up():
        for cpu in sorted(os.sched_getaffinity(0), reverse=True):
            claim = _claim_alone(cpu)
            if claim is not None:
                with claim:
                    yield cpu
                return
        time.sleep(WAIT_S)
    yield None


def _claim_alone(cpu: int) -> socket.socket | None:
    if any(each == cpu for each, _ in _claims()):
        return None
    claim = _claim(cpu, 0)
    if claim is not None and sum(each == cpu for each, _ in _claims()) > 1:
        claim.close()  # a guest came between the look and the claim
        return None
    return claim


def _claim(cpu: int, turn: int) -> socket.socket | None:
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0{CLAIMS}/cpu{cpu}/{turn}")
    except OSError:
        claim.close()
        return None
    return claim


def _claims() -> set[tuple[int, int]]:
    """Every claim on this machine, as (CPU, turn); the kernel shows the leading zero as @."""
    pattern = rf"@{re.escape(CLAIMS)}/cpu(\d+)/(\d+)$"
    sockets = Path("/proc/net/unix").read_text(errors="replace")
    return {(int(cpu), int(turn)) for cpu, turn in re.findall(pattern, sockets, re.MULTILINE)}
