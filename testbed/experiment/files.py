"""Files that an experiment names: where a relative path may lead."""

from pathlib import Path

from stage_node.repository import REPOSITORY
from topologies.catalogues.catalogue import FILE_ENDINGS, split_reference


def find_file(name: str, folder: Path | None = None) -> Path:
    """The absolute path of ``name``: relative to ``folder`` (the experiment file's), to the
    working directory, or to the repository; where it is in none of them, to the first."""
    folders = [*([folder] if folder else []), Path.cwd(), REPOSITORY]
    places = [(place / name).resolve() for place in folders]
    return next((path for path in places if path.is_file()), places[0])


def anchored_reference(reference: str, folder: Path) -> str:
    """A reference to an entry of a catalogue (``NAME``, ``FILE:NAME``, ``FILE``), its file as an
    absolute path."""
    file, name = split_reference(reference)
    if file:
        return f"{find_file(str(file), folder)}:{name}"
    return str(find_file(reference, folder)) if reference.endswith(FILE_ENDINGS) else reference
