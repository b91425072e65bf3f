"""A copy of our packages, compiled, that guests run: the same bytes for every checkout and user.

A module whose compiled form is missing or stale is read once more, which takes the virtual clock
with it; and a file that is edited during a run must not become part of it. So guests never
see the checkout: they see a copy, kept in the cache by its content.
"""

import compileall
import hashlib
import os
import py_compile
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from controller.keeping.user_cache import cache_folder
from stage_node.repository import REPOSITORY
from testbed.hosts.environment import PACKAGES

KINDS = frozenset({".py", ".yaml"})
NOT_CODE = frozenset({"__pycache__", "evidence", "checkpoints"})
KEPT_S = 7 * 24 * 3600.0


def code_copy(seen_as: Path, spare: Path) -> Path:
    """Find or make the copy of the present code, to be seen as ``seen_as``; its folder.

    It is in the cache, or below ``spare`` where that cannot be written.
    """
    files = sorted(code_files())
    digest = hashlib.sha256(sys.version.encode())  # each Python compiles for itself
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(REPOSITORY)} {len(content)}\n".encode() + content)
    cache = cache_folder("code")
    place = cache / digest.hexdigest()[:16]
    try:
        if not place.exists():
            _make(files, seen_as, place)
        os.utime(place)
        _prune(cache, place)
    except OSError:
        place = spare / "code"
        _make(files, seen_as, place)
    return place


def code_files() -> Iterator[Path]:
    """Every file of our packages that a process of a run may read."""
    for package in PACKAGES:
        for folder, folders, names in os.walk(REPOSITORY / package):
            folders[:] = [name for name in folders if name not in NOT_CODE]
            yield from (Path(folder, name) for name in names if Path(name).suffix in KINDS)


def _make(files: list[Path], seen_as: Path, place: Path) -> None:
    """Copy and compile; the copy appears at ``place`` when it is whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".unfinished-") as workshop:
        copy = Path(workshop) / "code"
        for file in files:
            target = copy / file.relative_to(REPOSITORY)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        compileall.compile_dir(
            copy,
            quiet=2,
            stripdir=str(copy),
            prependdir=str(seen_as),
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        copy.chmod(0o755)
        if not place.exists():  # another process may have been as quick
            copy.rename(place)


def _prune(cache: Path, kept: Path) -> None:
    """Delete the copies that have not been used for a week."""
    for folder in cache.iterdir():
        if folder != kept and time.time() - folder.stat().st_mtime > KEPT_S:
            shutil.rmtree(folder, ignore_errors=True)
