"""``python -m testbed``: the program behind the ``concertina`` launcher."""

import os
import signal
from types import FrameType


def end(number: int, frame: FrameType | None) -> None:
    """End this process as the signal does by default."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


# Ctrl-C ends the process without a traceback, wherever it is: an exception in the middle of
# importing torch aborts. What has something to tidy up listens for itself (testbed.interruption).
# A handler, because polars, once imported, calls none that is not of Python.
signal.signal(signal.SIGINT, end)

from testbed.commands.cli import main  # noqa: E402

main()
