"""Which CPU a guest runs on: one each, so that several guests run side by side.

Unpinned, one boot in five was about four times slower; pinned to one CPU none of 16 was.
"""

import itertools
import os
import socket

CLAIMS = "concertina"


def claim_cpu(cpu: int | None = None) -> tuple[int, socket.socket]:
    """A CPU that this process may use and fewest microVMs have, or ``cpu`` itself.

    The claim lasts until the returned socket is closed or this process ends: it is a name in
    the abstract socket namespace, which leaves no file behind and is shared by all users.
    """
    allowed = sorted(os.sched_getaffinity(0), reverse=True) if cpu is None else [cpu]
    for turn in itertools.count():
        for candidate in allowed:
            claim = socket.socket(socket.AF_UNIX)
            try:
                claim.bind(f"\0{CLAIMS}/cpu{candidate}/{turn}")
            except OSError:
                claim.close()
            else:
                return candidate, claim
    raise AssertionError("unreachable")
