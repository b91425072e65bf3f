"""Priority of the process that comes last where hosts share a processor.

Emulated hosts are machines of their own, and each takes what arrives while it computes. On one
processor a thread that computes holds up those that send and receive, of all hosts: a receiver
that is put aside in the middle of a read acknowledges nothing until it continues. So what the
processor lacks while a model is downloaded is taken from the inferences.
"""

import os

LAST = 19  # niceness, the lowest priority that shares a processor; of threads: setpriority(2)


def put_computing_last() -> None:
    """Let the calling thread, and those that it starts, wait for all that do not compute."""
    os.setpriority(os.PRIO_PROCESS, 0, LAST)
