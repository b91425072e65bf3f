"""The checkpoints of a model server: read once, verified whole, held in memory."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from safetensors import SafetensorError, safe_open

from stage_node.accordion.prefix import PrefixError, PrefixReader
from stage_node.errors import BadModelError
from stage_node.records.configuration import Configuration


@dataclass(frozen=True)
class ServedFile:
    """A checkpoint in memory; ``etag`` changes with its content.

    ``configurations`` says how many bytes make each runnable; empty if the file is no
    prefix-runnable checkpoint, and is served as bytes alone.
    """

    content: bytes
    etag: str
    configurations: dict[Configuration, int]

    @classmethod
    def read(cls, path: Path) -> Self:
        """A file from disk; ``BadModelError`` where it is cut off, altered or no checkpoint."""
        try:
            with safe_open(path, framework="pt") as checkpoint:
                runnable = "prefix" in (checkpoint.metadata() or {})
            content = path.read_bytes()
            configurations = _verified(content) if runnable else {}
        except (SafetensorError, PrefixError) as error:
            raise BadModelError(f"{path} is cut off or altered: {error}") from None
        except OSError as error:
            raise BadModelError(f"{path} cannot be read: {error.strerror}") from None
        return cls(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"', configurations)


def read_catalog(paths: Iterable[Path]) -> dict[str, ServedFile]:
    """Checkpoints, wherever they lie, by the name of their file without suffix.

    ``BadModelError`` where two have the same name, or one is damaged: nothing of it would be
    served.
    """
    files: dict[str, Path] = {}
    for path in paths:
        if files.setdefault(path.stem, path) != path:
            raise BadModelError(f"two models are called {path.stem}: {files[path.stem]} and {path}")
    return {name: ServedFile.read(path) for name, path in files.items()}


def _verified(content: bytes) -> dict[Configuration, int]:
    """The configurations of a checkpoint whose every part has the digest it should have."""
    reader = PrefixReader()
    reader.feed(content)
    if reader.missing:
        raise PrefixError(f"{reader.missing} bytes of the next part are missing")
    return reader.require_header().configurations
