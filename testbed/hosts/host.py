"""A host: a place that runs one command as root."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from stage_node.records.run_directory import RunDirectory


class Host(Protocol):
    """A place where a command finds itself root, with network namespaces of its own to make."""

    kind: ClassVar[str]

    def run(
        self,
        command: Sequence[str],
        *,
        writable: Path,
        readable: Mapping[str, Path] | None = None,
        env: Mapping[str, str] | None = None,
        output: Path | None = None,
        seed: int = 1,
    ) -> int:
        """Run ``command`` to its end and return its exit status (128 + n after signal n).

        Its working directory is ``writable``, an existing directory, in the microVM the only one
        whose changes reach this machine; paths that the command is given are relative to it.
        ``readable`` maps names of environment variables to existing directories: the command finds
        each directory where its variable says. ``env`` is added to a fixed environment: the
        caller's own variables are not passed on; this Python is ``environment.PYTHON`` there. From
        ``seed`` come all random numbers. Standard output and error are appended to ``output``, by
        default ``writable/logs/emulation.log``. Whatever ends the call (an exception, a signal, the
        death of this process), nothing that the command started survives it.

        Raises HostUnavailableError when the host cannot start, GuestDiedError when it ends
        without a status of the command.
        """
        ...


def output_file(output: Path | None, writable: Path) -> Path:
    """Return the file for a command's output; makes its folder."""
    path = (output or RunDirectory(writable).emulation_log).resolve()
    if not path.is_relative_to(writable):
        raise ValueError(f"output {path} is not below the writable directory {writable}")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
