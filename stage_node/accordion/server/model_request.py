"""Reading the needs in a request's query; whatever is wrong with them is a 400 that says so."""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar, get_args

from stage_node.accordion.needs import NEEDS, AdmissionName
from stage_node.accordion.protocol import ModelRequest, NotAdmittedError

Number = TypeVar("Number", int, float)
PARAMETERS = (*NEEDS, "admission")
BAD_REQUEST = 400


def model_request(given: Mapping[str, str], held: str | None, name: str) -> ModelRequest:
    """The request for model ``name`` with query ``given``; ``held`` is its ``Range`` header."""
    if unknown := sorted(set(given) - set(PARAMETERS)):
        raise NotAdmittedError(
            BAD_REQUEST, f"unknown parameter {unknown[0]!r}; known: {', '.join(PARAMETERS)}"
        )
    request = ModelRequest(
        model=name,
        max_bytes=_number(given.get("max_bytes"), "max_bytes", int, 1),
        deadline_ms=_number(given.get("deadline_ms"), "deadline_ms", float, 0),
        accuracy=_number(given.get("accuracy"), "accuracy", float, 0, 1),
        admission=_admission(given.get("admission", "lookup")),
        first_byte=_first_byte(held),
    )
    if request.admission == "stream" and request.deadline_ms is None:
        raise NotAdmittedError(
            BAD_REQUEST, "admission=stream sends until a deadline_ms: none given"
        )
    return request


def _admission(text: str) -> AdmissionName:
    for name in get_args(AdmissionName):
        if text == name:
            return name  # type: ignore[no-any-return]
    raise NotAdmittedError(BAD_REQUEST, f"admission={text} is neither lookup nor stream")


def _number(
    text: str | None,
    name: str,
    kind: Callable[[str], Number],
    low: float,
    high: float = float("inf"),
) -> Number | None:
    if text is None:
        return None
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        whole = " whole" if kind is int else ""
        raise NotAdmittedError(
            BAD_REQUEST, f"{name}={text} is no{whole} number from {low:g} to {high:g}"
        )
    return value


def _first_byte(header: str | None) -> int:
    """Bytes that the UE has: N of ``bytes=N-``."""
    if header is None:
        return 0
    match = re.fullmatch(r"bytes=(\d+)-", header, re.ASCII)
    if match is None:
        raise NotAdmittedError(
            BAD_REQUEST, f"with {', '.join(PARAMETERS)} a Range is bytes=N-: {header}"
        )
    return int(match[1])
