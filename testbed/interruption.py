"""Ctrl-C and SIGTERM end a run the same way, at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """The user, or the system, wants the run to end; carries the signal's number."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise ``Stopped`` in the main thread when one of the two signals comes.

    Installed anew for each run: libraries replace the handlers by ones that restart system calls
    (polars does on import), and then a signal would not end a wait.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, _stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)
