"""Errors of the controller."""

from typing import ClassVar


class ControllerError(Exception):
    """Root of this package's errors; a failed run (exit status 1)."""

    exit_status: ClassVar[int] = 1


class BadPartitionError(ControllerError):
    """The model cannot be split as asked: bad input (exit status 2)."""

    exit_status = 2


class BadTargetsError(ControllerError):
    """No compression of this model can do what is asked: bad input (exit status 2)."""

    exit_status = 2


class FrozenLayerChangedError(ControllerError):
    """A tensor outside the fringe layers is not what it was before the run."""
