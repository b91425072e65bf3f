"""Catalogues: entries by name in a shipped YAML file, and in users' own of the same form."""

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Generic, TypeVar

import yaml

from topologies.catalogues.strict_yaml import first_line, load_strictly
from topologies.errors import BadTopologyError

FILE_ENDINGS = (".yaml", ".yml")

Entry = TypeVar("Entry")
Read = TypeVar("Read")


@dataclass(frozen=True)
class Catalogue(Generic[Entry]):
    """A file's entries, each of a ``noun``, by name.

    ``parse`` makes an entry of its name and of what the file holds under it; it raises
    ``BadTopologyError``. ``form`` names a file that shows how one is written.
    """

    noun: str
    file: Traversable
    form: str
    parse: Callable[[str, object], Entry]

    @cached_property
    def shipped(self) -> Mapping[str, Entry]:
        """The shipped entries by name, in the order of the file."""
        return self.parse_all(self.file.read_text(encoding="utf-8"))

    def parse_all(self, text: str) -> Mapping[str, Entry]:
        """The entries of a file in the form of the shipped one, by name.

        ``BadTopologyError`` has a line for each that is none.
        """
        entries, mistakes = {}, []
        for name, fields in self._by_name(text).items():
            try:
                entries[name] = self.parse(name, fields)
            except BadTopologyError as error:
                mistakes.append(str(error))
        if mistakes:
            raise BadTopologyError("\n".join(mistakes))
        return MappingProxyType(entries)

    def load(self, reference: str) -> Entry:
        """A shipped entry by ``NAME``, or one of a user's own by ``FILE:NAME``.

        Of a file only that one is looked at. ``BadTopologyError`` names the one that may be meant,
        or all.
        """
        file, name = split_reference(reference)
        if file is not None:
            return _read(file, lambda text: self._one_of(text, name))
        self._check_known(name, self.shipped)
        return self.shipped[name]

    def load_all(self, reference: str) -> tuple[Entry, ...]:
        """Return what ``load`` does, or every entry of a user's file (``FILE.yaml``)."""
        if reference.endswith(FILE_ENDINGS):
            return tuple(_read(Path(reference), self.parse_all).values())
        return (self.load(reference),)

    def _one_of(self, text: str, name: str) -> Entry:
        by_name = self._by_name(text)
        self._check_known(name, by_name)
        return self.parse(name, by_name[name])

    def _by_name(self, text: str) -> dict[str, object]:
        """Entries of a file by name, unread."""
        try:
            raw = load_strictly(text)
        except yaml.YAMLError as error:
            raise BadTopologyError(f"cannot be read: {first_line(error)}") from error
        if not isinstance(raw, Mapping) or not raw:
            raise BadTopologyError(f"expected {self.noun}s by name, as in {self.form}")
        return {str(name): fields for name, fields in raw.items()}

    def _check_known(self, name: str, known: Collection[str]) -> None:
        if name in known:
            return
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        raise BadTopologyError(f"{self.noun} {name!r} is not known; {hint}")


def split_reference(reference: str) -> tuple[Path | None, str]:
    """``FILE:NAME`` -> the file and the name; ``None`` and the name if it is a shipped one."""
    file, _, name = reference.rpartition(":")
    return (Path(file) if file else None), name


def _read(file: Path, parse: Callable[[str], Read]) -> Read:
    """Parse a user's own file; every line of a ``BadTopologyError`` names it."""
    try:
        return parse(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadTopologyError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadTopologyError(f"{file}: cannot be read: {error}") from error
    except BadTopologyError as error:
        lines = (f"{file}: {line}" for line in str(error).splitlines())
        raise BadTopologyError("\n".join(lines)) from error
