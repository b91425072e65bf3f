"""The modules of ours that a module's code depends on, found from its imports.

What was measured is kept under a hash of the code that measured it. A list of that code made by
hand lacks a module sooner or later, and then a stale figure is silently wrong; its imports lack
none.
"""

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from stage_node.repository import REPOSITORY


@lru_cache
def import_closure(module: str, root: Path = REPOSITORY) -> tuple[Path, ...]:
    """Source files of ``module`` and of all that it imports, directly or not, below ``root``.

    Imports within functions count; packages count with their ``__init__``.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        file = _file(name, root)
        if name in found or file is None:
            continue
        found[name] = file
        imported = set(_imported(file))
        waiting += [*_parents(name), *imported]
        if "pkgutil" in imported:  # it imports whatever lies beside it
            package = name if file.name == "__init__.py" else name.rpartition(".")[0]
            waiting += [f"{package}.{other.stem}" for other in file.parent.glob("*.py")]
    return tuple(sorted(found.values()))


def source_code(module: str) -> Iterator[bytes]:
    """Path and text of every file of ``import_closure``, for a hash to depend on."""
    for file in import_closure(module):
        yield str(file.relative_to(REPOSITORY)).encode()
        yield file.read_bytes()


def _file(name: str, root: Path) -> Path | None:
    """Find the file of one of our modules; None for other names."""
    place = root.joinpath(*name.split("."))
    files = (place / "__init__.py", place.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)


def _parents(name: str) -> Iterator[str]:
    """The packages that a module is in: importing it runs them first."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _imported(file: Path) -> Iterator[str]:
    """Absolute names that a file imports, and those that may be modules."""
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield module
                yield from (f"{module}.{each.name}" for each in names)
