"""Words for the mistakes that pydantic finds."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def in_words(mistake: "ErrorDetails") -> str:
    """One mistake without its field: what was expected, and what was given if it is short."""
    if mistake["type"] == "extra_forbidden":
        return "unknown field"
    if mistake["type"] == "missing":
        return "missing"
    if mistake["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return f"fields in braces expected, as {{name: value}}{_shown(mistake)}"
    if mistake["type"] in ("tuple_type", "list_type"):
        return f"a list in brackets expected, as [one, two]{_shown(mistake)}"
    message = mistake["msg"].removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}{_shown(mistake)}"


def _shown(mistake: "ErrorDetails") -> str:
    given = mistake["input"]
    return f", got {given!r}" if isinstance(given, str | int | float | bool) else ""
