"""YAML files as typed sections, with one clear line for every mistake in them."""

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from testbed.errors import BadExperimentError
from topologies.catalogues.strict_yaml import first_line, load_strictly
from topologies.catalogues.wording import in_words


class Section(BaseModel):
    """A part of the experiment file; unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


FileT = TypeVar("FileT", bound=Section)


def read_mapping(path: Path) -> dict[str, Any]:
    """The fields of a YAML file, none of them given twice."""
    try:
        raw = load_strictly(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadExperimentError(f"{path}: cannot be read: {first_line(error)}") from error
    if not isinstance(raw, dict):
        raise BadExperimentError(f"{path}: expected a mapping of fields")
    return raw


def validated(kind: type[FileT], raw: dict[str, Any], origin: str) -> FileT:
    """Type a parsed file; BadExperimentError has one line per mistake."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        lines = [f"{origin}: {line}" for line in _explain(error, kind)]
        raise BadExperimentError("\n".join(lines)) from error


def _explain(error: ValidationError, kind: type[Section]) -> list[str]:
    """One line per mistake: the field's path, then what was expected."""
    lines = []
    for mistake in error.errors():
        path = _field_path(mistake["loc"])
        where = ".".join(path) or "the file"
        unknown = mistake["type"] == "extra_forbidden"
        hint = _suggestion(path[-1], path[0], kind) if unknown else ""
        lines.append(f"{where}: {in_words(mistake)}{hint}")
    return list(dict.fromkeys(lines))


_TAGS = ("<one>", "<each>", "<made>", "<read>")


def _field_path(location: tuple[int | str, ...]) -> list[str]:
    """The field as it stands in the file: without pydantic's own steps into its unions."""
    steps = [str(step) for step in location]
    if steps[:1] == ["network"]:
        del steps[1:2]  # the shape
    return [step for step in steps if step not in _TAGS]


ALIKE = 0.66
"""How alike two names must be: less, and what is meant may be something else entirely."""


def _suggestion(name: str, section: str, kind: type[Section]) -> str:
    """``did you mean``: a field of that section with a unit, or one spelled alike."""
    known = sorted(_field_names(section, kind) - {name})  # known elsewhere in the section
    with_unit = [field for field in known if field.startswith(f"{name}_")]
    close = with_unit or difflib.get_close_matches(name, known, n=1, cutoff=ALIKE)
    if not close:
        return ""
    unit = " (every number has its unit in its name)" if with_unit else ""
    return f"; did you mean {' or '.join(close)}?{unit}"


def _field_names(section: str, kind: type[Section]) -> set[str]:
    """Every field name of a section of the file, nested ones included; of the top for a typo."""
    field = kind.model_fields.get(section)
    if field is None or field.annotation is None:
        return set(kind.model_fields)
    schema = TypeAdapter(field.annotation).json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return {name for part in parts for name in part.get("properties", {})}
