"""Errors of the emulated hosts."""

from typing import ClassVar


class StageNodeError(Exception):
    """Root of this package's errors; a failed run (exit status 1)."""

    exit_status: ClassVar[int] = 1


class BadModelError(StageNodeError):
    """A model specification, checkpoint or data set is not what it should be: bad input."""

    exit_status = 2


class WireError(StageNodeError):
    """The peer sent bytes that the wire format or the activation contract forbids."""


class ContractMismatchError(WireError):
    """The two ends of a connection disagree on what travels over it; the message says where."""


class PeerLostError(StageNodeError):
    """The other end of a connection went away or does not answer."""


class RefusedError(StageNodeError):
    """A stage did not do what the controller asked; the message is its reason."""
