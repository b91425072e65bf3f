"""``docs/summary.md``: the fields of ``summary.json``, generated from their models.

``python -m analysis.summary.document docs/summary.md`` writes it anew.
"""

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from analysis.summary import SCHEMA_VERSION, Summary
from analysis.summary.section import SummarySection

_NAMES: dict[Any, str] = {str: "text", int: "integer", float: "number", bool: "yes or no"}


def summary_reference() -> str:
    """The whole page, Markdown."""
    lines = [
        "# The fields of summary.json",
        "",
        f"Format version {SCHEMA_VERSION}. Generated from `analysis/summary` by "
        "`python -m analysis.summary.document docs/summary.md`; do not edit by hand.",
        "",
        "Times and bytes on the wire come from the packet captures; waiting, computing, end-to-end "
        "times and the loop's own bytes from the processes' ledgers; capacities and round trips "
        "from the probe. Only the deviations and the verdict compare with the configuration, and "
        "the raw input's bytes are the data set's. What could not be measured is `null`.",
    ]
    for section in _sections(Summary):
        lines += ["", f"## {section.__name__}", "", *_documentation(section), ""]
        lines += ["| field | type | meaning |", "|---|---|---|"]
        lines += [_row(name, field) for name, field in section.model_fields.items()]
    return "\n".join(lines) + "\n"


def _documentation(section: type[BaseModel]) -> list[str]:
    return [line.strip() for line in (section.__doc__ or "").strip().splitlines()]


def _row(name: str, field: FieldInfo) -> str:
    shown = field.serialization_alias or name
    return f"| `{shown}` | {_type(field.annotation)} | {field.description} |"


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(a) for a in arguments)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if annotation is type(None):
        return "null"
    if isinstance(annotation, type) and issubclass(annotation, SummarySection):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return _NAMES[annotation]


def _sections(section: type[SummarySection]) -> Iterator[type[SummarySection]]:
    """The model and all models below it, each once, in the order of reading."""
    found: dict[type[SummarySection], None] = {}
    waiting: list[Any] = [section]
    while waiting:
        here = waiting.pop(0)
        if isinstance(here, type) and issubclass(here, SummarySection):
            if here not in found:
                found[here] = None
                waiting += [field.annotation for field in here.model_fields.values()]
        else:
            waiting[:0] = get_args(here)
    yield from found


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(summary_reference(), encoding="utf-8")
