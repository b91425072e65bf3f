"""Errors of the testbed itself."""

from typing import ClassVar

from analysis.errors import AnalysisError
from controller.errors import ControllerError
from stage_node.errors import StageNodeError
from topologies.errors import TopologyError


class TestbedError(Exception):
    """Root of this package's errors; a failed run (exit status 1)."""

    __test__ = False
    exit_status: ClassVar[int] = 1


class BadExperimentError(TestbedError):
    """The user's input is wrong; one line per mistake, each with file and field (exit status 2)."""

    exit_status = 2


class BadTableError(TestbedError):
    """A file is not the table that a program of testbed.evidence reads (exit status 2)."""

    exit_status = 2


class HostUnavailableError(TestbedError):
    """The host asked for cannot run on this machine; the message says what would fix it."""

    exit_status = 2


class KernelUnavailableError(HostUnavailableError):
    """The guest has no kernel with a clock of its own; the message says what would help."""


class BadKernelError(KernelUnavailableError):
    """The kernel named or built does not do for the guest; nothing was changed."""


class GuestDiedError(TestbedError):
    """The microVM ended without an answer, or stopped answering and was ended."""


class RunFailedError(TestbedError):
    """The emulation ended with an error; the message is its own."""


class RunInterruptedError(TestbedError):
    """The run was interrupted (Ctrl-C, SIGTERM); everything it started is gone.

    The exit status is the shell's for a process that a signal ended: 130 or 143.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_status = 128 + signal_number  # type: ignore[misc]


OUR_ERRORS = (TestbedError, TopologyError, StageNodeError, ControllerError, AnalysisError)
"""The roots of every error whose message is for the user, with an ``exit_status``."""
