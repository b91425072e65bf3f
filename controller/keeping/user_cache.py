"""The user's cache: what takes long to measure is kept under the hash of all it depends on."""

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """The folder of a kind: ``$XDG_CACHE_HOME/concertina/KIND``, or below ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "concertina" / kind
