"""What pydantic finds wrong, in the words of the house."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def in_words(mistake: "ErrorDetails") -> str:
    """One mistake without its field: what was expected, and what was given if it is short."""
    if mistake["type"] == "extra_forbidden":
        return "unknown field"
    if mistake["type"] == "missing":
        return "missing"
    message = mistake["msg"].removeprefix("Value error, ")
    given = mistake["input"]
    shown = f", got {given!r}" if isinstance(given, str | int | float | bool) else ""
    return f"{message[0].lower()}{message[1:]}{shown}"
