"""A kernel for the guest as it lies in the cache: its files, and what is known of it."""

import hashlib
import json
from pathlib import Path
from typing import Literal, Self

from pydantic import ConfigDict, Field

from stage_node.records.manifest import KernelFacts

FACTS = "kernel.json"


class GuestKernel(KernelFacts):
    """A User-Mode Linux kernel whose clock can be virtual, and the library preloaded into it.

    ``configuration_hash`` is of all that it was made from, but for the source: see ``recipe``; of
    a kernel of the user's own, of its configuration and the library. ``folder`` is where it was
    read from, and is not written.
    """

    model_config = ConfigDict(extra="forbid")

    folder: Path = Field(exclude=True)
    origin: Literal["built", "own"]

    @property
    def executable(self) -> Path:
        """The kernel itself, an ordinary program."""
        return self.folder / "linux"

    @property
    def preload(self) -> Path:
        """The library for LD_PRELOAD between the kernel and this machine; it seeds the entropy."""
        return self.folder / "preload.so"

    @property
    def configuration(self) -> Path:
        """The text of its configuration, as ``--showconfig`` prints it."""
        return self.folder / "config"

    @property
    def name(self) -> str:
        """Its folder's name in the cache."""
        return f"{self.version}-{self.configuration_hash[:12]}"

    def write(self) -> None:
        """Write what is known of it beside it."""
        (self.folder / FACTS).write_text(self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Find the kernel in a folder; None if it is not whole."""
        try:
            facts = json.loads((folder / FACTS).read_bytes())
            kernel = cls.model_validate({**facts, "folder": folder})
            size_bytes = kernel.executable.stat().st_size
        except (OSError, TypeError, ValueError):
            return None
        whole = size_bytes == kernel.size_bytes and kernel.preload.is_file()
        return kernel if whole and kernel.configuration.is_file() else None


def digest(*contents: bytes) -> str:
    """Hash the contents, SHA-256 in hex; where one ends and the next begins counts."""
    whole = hashlib.sha256()
    for content in contents:
        whole.update(len(content).to_bytes(8, "big") + content)
    return whole.hexdigest()
