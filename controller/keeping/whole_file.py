"""Files that are there whole or not at all, whatever ends the program or fills the disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controller.errors import ControllerError


class NotWrittenError(ControllerError):
    """A file cannot be written: no space, or no permission."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write at, which becomes ``path`` when all is written and is removed otherwise.

    ``NotWrittenError`` says why the system refused.
    """
    part = path.with_suffix(".part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise NotWrittenError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
