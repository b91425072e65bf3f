"""Errors of the emulated network."""

from typing import ClassVar


class TopologyError(Exception):
    """Root of this package's errors; a failed run (exit status 1)."""

    exit_status: ClassVar[int] = 1


class BadTopologyError(TopologyError):
    """The description of the network is wrong: bad input (exit status 2)."""

    exit_status = 2


class EmulationError(TopologyError):
    """The kernel or a tool refused what the emulation asked of it."""
