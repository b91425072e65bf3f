"""The user's cache: what takes long to measure is kept under the hash of all it depends on."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType


def cache_folder(kind: str) -> Path:
    """The folder of a kind: ``$XDG_CACHE_HOME/concertina/KIND``, or below ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "concertina" / kind


def source_code(modules: Mapping[ModuleType, Sequence[str]]) -> Iterator[bytes]:
    """The source of modules, by the package they are in, for a hash to depend on."""
    for package, names in modules.items():
        folder = Path(package.__path__[0])
        for name in names:
            yield (folder / f"{name}.py").read_bytes()
