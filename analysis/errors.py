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
