"""How the programs that make evidence of run directories are called, and how they refuse."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from testbed.errors import OUR_ERRORS


def from_runs(
    make: Callable[..., None], usage: str | None, arguments: Sequence[str], least: int = 2
) -> int:
    """Call ``make`` with the paths that ``arguments`` are, OUT_FOLDER first; the exit status.

    2, and the usage, for fewer than ``least`` arguments; an error of ours is one line and its own
    status. ``make`` reads and checks everything before it writes anything.
    """
    if len(arguments) < least:
        print(usage, file=sys.stderr)
        return 2
    try:
        make(*map(Path, arguments))
    except OUR_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0
