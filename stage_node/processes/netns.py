"""Entering another process's network namespace: how a stage gets onto its emulated host."""

import ctypes
import os

from stage_node.errors import StageNodeError

CLONE_NEWNET = 0x40000000
"""``setns(2)``: only a network namespace will do."""


class NamespaceError(StageNodeError):
    """A network namespace could not be entered."""


def enter_network_of(pid: int) -> None:
    """Move the calling thread, and whatever it starts later, into the network of process ``pid``.

    Needs CAP_SYS_ADMIN; ``NamespaceError`` says what went wrong. ``os.setns`` exists from
    Python 3.12 on only, hence libc.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NamespaceError(f"process {pid} has no network: {error.strerror}") from None
    try:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise NamespaceError(f"cannot enter the network of process {pid}: {reason}")
    finally:
        os.close(descriptor)
