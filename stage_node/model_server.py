"""The Accordion model server: prefix-runnable checkpoints over HTTP/1.1.

``GET /models/<name>.safetensors`` as :mod:`stage_node.delivery` says. What a request with
needs gets is decided by the ``admit`` function given to :func:`create_app`; a request without is
served as any web server serves a file. Every refusal is JSON, ``{"error": "..."}``.
"""

import asyncio
import hashlib
import http.client
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stage_node.delivery import (
    ACCURACY_HEADER,
    CONFIGURATION_HEADER,
    PREDICTED_HEADER,
    Admission,
    ModelRequest,
    NotAdmittedError,
    UnsatisfiableRangeError,
    configuration_name,
    parse_range,
)
from stage_node.errors import BadModelError
from stage_node.events import Admitted, EventLog

Admit = Callable[[ModelRequest, str], Admission]
"""Decides on a request of the UE with the given address; raises ``NotAdmittedError``."""

Number = TypeVar("Number", int, float)
PARAMETERS = ("max_bytes", "deadline_ms", "accuracy")


@dataclass(frozen=True)
class ServedFile:
    """A checkpoint in memory; ``etag`` changes with its content."""

    content: bytes
    etag: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """A file from disk."""
        content = path.read_bytes()
        return cls(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def read_catalog(folder: Path) -> dict[str, ServedFile]:
    """Every checkpoint of a folder, by the name of its file without suffix."""
    catalog = {path.stem: ServedFile.read(path) for path in sorted(folder.glob("*.safetensors"))}
    if not catalog:
        raise BadModelError(f"{folder}: no .safetensors file to serve")
    return catalog


def create_app(
    catalog: Mapping[str, ServedFile], admit: Admit, events: EventLog | None = None
) -> Starlette:
    """The server's application; ``events`` gets one ``Admitted`` per admitted request."""

    async def get_model(request: Request) -> Response:
        try:
            return _answer(request, catalog, admit, events)
        except NotAdmittedError as refusal:
            return JSONResponse({"error": str(refusal)}, refusal.status)

    return Starlette(routes=[Route("/models/{name}.safetensors", get_model)])


def serve(app: Starlette, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        app, loop="asyncio", http="h11", ws="none", lifespan="off", log_level="warning",
        access_log=False,
    )  # fmt: skip
    server = uvicorn.Server(config)
    asyncio.run(server.serve(sockets=[listener]))


def warm_up(ip: str, port: int, model: str) -> None:
    """Fetch a model from the server of this very host."""
    connection = http.client.HTTPConnection(ip, port)
    connection.request("GET", f"/models/{quote(model)}.safetensors")
    connection.getresponse().read()
    connection.close()


def _answer(
    request: Request, catalog: Mapping[str, ServedFile], admit: Admit, events: EventLog | None
) -> Response:
    name = request.path_params["name"]
    if name not in catalog:
        known = ", ".join(sorted(catalog))
        raise NotAdmittedError(404, f"no model {name!r}; this server has {known}")
    file = catalog[name]
    if request.headers.get("if-match", file.etag) not in (file.etag, "*"):
        raise NotAdmittedError(412, f"model {name} has changed since its first bytes were sent")
    if not request.query_params:
        return _plain(request, file)
    wanted = _model_request(request, name)
    ue = request.client.host if request.client else ""
    admission = admit(wanted, ue)
    if events is not None:
        events.emit(
            Admitted,
            model=name,
            ue=ue,
            configuration=admission.configuration,
            first_byte=admission.first_byte,
            end_byte=admission.end_byte,
            estimate_mbit=admission.estimate_mbit,
            reason=admission.reason,
        )
    headers = {
        CONFIGURATION_HEADER: configuration_name(admission.configuration),
        ACCURACY_HEADER: f"{admission.accuracy:.6g}",
        PREDICTED_HEADER: f"{admission.predicted_ms:.3f}",
    }
    if admission.first_byte == admission.end_byte:
        return Response(status_code=204, headers={"ETag": file.etag, **headers})
    return _partial(file, admission.first_byte, admission.end_byte, headers)


def _plain(request: Request, file: ServedFile) -> Response:
    """The file, or the range of it that was asked for."""
    wanted = request.headers.get("range")
    if request.headers.get("if-range", file.etag) != file.etag:
        wanted = None
    size = len(file.content)
    try:
        part = parse_range(wanted, size)
    except UnsatisfiableRangeError:
        return JSONResponse(
            {"error": f"{wanted} is past the end of {size} bytes"},
            416,
            {"Content-Range": f"bytes */{size}"},
        )
    if part is None:
        return Response(file.content, headers=_common(file))
    return _partial(file, part.first, part.end, {})


def _partial(file: ServedFile, first: int, end: int, headers: Mapping[str, str]) -> Response:
    size = len(file.content)
    return Response(
        memoryview(file.content)[first:end],
        206,
        {**_common(file), "Content-Range": f"bytes {first}-{end - 1}/{size}", **headers},
    )


def _common(file: ServedFile) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "ETag": file.etag,
    }


def _model_request(request: Request, name: str) -> ModelRequest:
    """The needs in a request's query, checked."""
    given = request.query_params
    if unknown := sorted(set(given) - set(PARAMETERS)):
        raise NotAdmittedError(
            400, f"unknown parameter {unknown[0]!r}; known: {', '.join(PARAMETERS)}"
        )
    max_bytes = _number(given.get("max_bytes"), "max_bytes", int, 1)
    deadline_ms = _number(given.get("deadline_ms"), "deadline_ms", float, 0)
    accuracy = _number(given.get("accuracy"), "accuracy", float, 0, 1)
    return ModelRequest(
        model=name,
        max_bytes=max_bytes,
        deadline_ms=deadline_ms,
        accuracy=accuracy,
        first_byte=_first_byte(request.headers.get("range")),
    )


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
        raise NotAdmittedError(400, f"{name}={text} is no{whole} number from {low:g} to {high:g}")
    return value


def _first_byte(header: str | None) -> int:
    """How much the UE has: N of ``bytes=N-``."""
    if header is None:
        return 0
    match = re.fullmatch(r"bytes=(\d+)-", header, re.ASCII)
    if match is None:
        raise NotAdmittedError(400, f"with {', '.join(PARAMETERS)} a Range is bytes=N-: {header}")
    return int(match[1])
