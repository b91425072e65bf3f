"""Command lines of the programs that make evidence of files, and their refusals."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from testbed.errors import OUR_ERRORS, BadTableError


def call_with_paths(
    make: Callable[..., None], usage: str | None, arguments: Sequence[str], least: int = 2
) -> int:
    """Call ``make`` with the paths that ``arguments`` are; the exit status.

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


@contextmanager
def reading_table(path: Path, maker: str) -> Iterator[None]:
    """``BadTableError`` for whatever goes wrong while a table that ``maker`` wrote is read."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise BadTableError(f"{path}: no table of {maker}: {reason}") from error
