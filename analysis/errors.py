"""Errors of the analysis."""

from typing import ClassVar


class AnalysisError(Exception):
    """Root of this package's errors; a failed run (exit status 1)."""

    exit_status: ClassVar[int] = 1


class NotARunError(AnalysisError):
    """The directory is not a run directory, or an incomplete one: bad input (exit status 2)."""

    exit_status = 2


class DamagedCaptureError(AnalysisError):
    """A capture cannot be read at all."""


def first_line(error: Exception) -> str:
    """First line of an error's message; its type's name if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]
