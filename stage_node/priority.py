"""Who comes first where hosts share a processor.

Emulated hosts are machines of their own, each with a processor that takes what arrives while it
computes. On one processor a thread that computes holds up those that send and receive, of all
hosts: a receiver that is put aside in the middle of a read acknowledges nothing until it goes on.
So the latter come first, and what the processor lacks is taken from the computing.
"""

import contextlib
import os

FIRST, ORDINARY = -20, 0  # nice values: setpriority(2), which on Linux is of the calling thread


def put_communication_first() -> None:
    """Let the calling thread, and those that it starts, go before all that compute.

    Without the rights for that (CAP_SYS_NICE, which every emulated host has) nothing changes.
    """
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, FIRST)


def compute() -> None:
    """Let the calling thread go after those that communicate, whoever started it."""
    os.setpriority(os.PRIO_PROCESS, 0, ORDINARY)
