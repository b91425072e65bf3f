"""The Accordion model server: prefix-runnable checkpoints over HTTP/1.1.

``GET /models/<name>.safetensors`` as :mod:`stage_node.accordion.protocol` says. What a request with
needs gets is decided by the ``admit`` function given to :class:`ModelServer`; a request without is
served as any web server serves a file. Every refusal is JSON, ``{"error": "..."}``.
"""

import asyncio
import http.client
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stage_node.accordion.protocol import (
    ACCURACY_HEADER,
    CONFIGURATION_HEADER,
    FIRST_BYTE_HEADER,
    PREDICTED_HEADER,
    Admission,
    ModelRequest,
    NotAdmittedError,
    Streaming,
    UnsatisfiableRangeError,
    parse_range,
)
from stage_node.accordion.server.connections import Connections
from stage_node.accordion.server.faults import Fault, FaultPlan
from stage_node.accordion.server.model_request import model_request
from stage_node.accordion.server.responses import FileResponse, StreamResponse
from stage_node.accordion.server.served_file import ServedFile
from stage_node.records.configuration import configuration_name
from stage_node.records.events import Admitted, Event, EventLog, FaultInjected

Admit = Callable[[ModelRequest, str], Admission | Streaming]
"""Decides on a request of the UE with the given address; raises ``NotAdmittedError``."""


@dataclass(frozen=True)
class ModelServer:
    """Models, the admission, and listeners.

    ``events`` gets one ``Admitted`` per admitted request; ``connections`` receive their end.
    """

    catalog: Mapping[str, ServedFile]
    admit: Admit
    events: EventLog | None = None
    connections: Connections = field(default_factory=Connections)
    faults: FaultPlan = field(default_factory=FaultPlan)

    def app(self) -> Starlette:
        """The server's application, for connections of :attr:`connections`."""

        async def get_model(request: Request) -> Response:
            try:
                return self._answer(request, time.monotonic_ns())
            except NotAdmittedError as refusal:
                return JSONResponse({"error": str(refusal)}, refusal.status)

        return Starlette(routes=[Route("/models/{name}.safetensors", get_model)])

    def configured(self) -> uvicorn.Server:
        """The application behind HTTP/1.1, to be run on a listening socket."""
        config = uvicorn.Config(
            self.app(),
            loop="asyncio",
            http=self.connections.protocol,  # type: ignore[arg-type]  # any callable serves
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            proxy_headers=False,
        )
        return uvicorn.Server(config)

    def _answer(self, request: Request, request_ns: int) -> Response:
        name = request.path_params["name"]
        if name not in self.catalog:
            known = ", ".join(sorted(self.catalog))
            raise NotAdmittedError(404, f"no model {name!r}; this server has {known}")
        file = self.catalog[name]
        if request.headers.get("if-match", file.etag) not in (file.etag, "*"):
            raise NotAdmittedError(412, f"model {name} has changed since its first bytes were sent")
        if not request.query_params:
            return self._plain(request, name, file)
        wanted = model_request(request.query_params, request.headers.get("range"), name)
        admission = self.admit(wanted, _address(request))
        if isinstance(admission, Streaming):
            return self._stream(request, name, admission, request_ns)
        return self._prefix(request, name, admission)

    def _prefix(self, request: Request, name: str, admission: Admission) -> Response:
        """Answer of a look-up."""
        self._tell(
            Admitted(
                model=name,
                ue=_address(request),
                configuration=admission.configuration,
                first_byte=admission.first_byte,
                end_byte=admission.end_byte,
                estimate_mbit=admission.estimate_mbit,
                estimate_source=admission.estimate_source,
                rtt_ms=admission.rtt_ms,
                predicted_ms=admission.predicted_ms,
                reason=admission.reason,
            )
        )
        headers = {
            CONFIGURATION_HEADER: configuration_name(admission.configuration),
            ACCURACY_HEADER: f"{admission.accuracy:.6g}",
            PREDICTED_HEADER: f"{admission.predicted_ms:.3f}",
        }
        if admission.first_byte == admission.end_byte:
            etag = self.catalog[name].etag
            return Response(status_code=204, headers={"ETag": etag, **headers})
        return self._part(request, name, admission.first_byte, admission.end_byte, headers)

    def _stream(
        self, request: Request, name: str, streaming: Streaming, request_ns: int
    ) -> Response:
        """Whole blocks until the deadline; ``Admitted`` is emitted when their number is known.

        Where not even the first is to be sent, that is a refusal.
        """
        file = self.catalog[name]
        connection = self.connections.open[_client(request)]
        for block in streaming.blocks[:1]:
            missing = block.end_byte - streaming.first_byte
            objection = streaming.objection(connection.sending(request_ns), missing, False)
            if objection is not None:
                smallest = configuration_name(block.configuration)
                streaming.refused()
                raise NotAdmittedError(409, f"not even {smallest} of {name}: {objection}")

        def ended(configuration: tuple[int, ...], end_byte: int, mbit: float, reason: str) -> None:
            self._tell(
                Admitted(
                    model=name,
                    ue=_address(request),
                    configuration=configuration,
                    first_byte=streaming.first_byte,
                    end_byte=end_byte,
                    estimate_mbit=mbit,
                    estimate_source="measured",
                    reason=reason,
                    admission="stream",
                )
            )

        headers = _common(file) | {FIRST_BYTE_HEADER: str(streaming.first_byte)}
        return StreamResponse(
            file.content, streaming, connection, request_ns, headers, ended,
            self._strike(request, name, streaming.first_byte, len(file.content)),
        )  # fmt: skip

    def _plain(self, request: Request, name: str, file: ServedFile) -> Response:
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
            return self._part(request, name, 0, size, {}, 200)
        return self._part(request, name, part.first, part.end, {})

    def _part(
        self,
        request: Request,
        name: str,
        first: int,
        end: int,
        headers: Mapping[str, str],
        status: int = 206,
    ) -> Response:
        file = self.catalog[name]
        place = f"bytes {first}-{end - 1}/{len(file.content)}"
        described = {} if status == http.client.OK else {"Content-Range": place}
        return FileResponse(
            memoryview(file.content)[first:end],
            first,
            status,
            {**_common(file), **described, **headers},
            self.connections.open.get(_client(request)),
            self._strike(request, name, first, end),
        )

    def _strike(self, request: Request, name: str, first: int, end: int) -> Fault | None:
        """The fault that the experiment wants for these bytes."""
        fault = self.faults.strike(_address(request), first, end)
        if fault is not None:
            self._tell(
                FaultInjected(
                    model=name, ue=_address(request), fault=fault.name, at_byte=fault.at_byte
                )
            )
        return fault

    def _tell(self, event: Event) -> None:
        if self.events is not None:
            self.events.emit(event)


def serve(server: ModelServer, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT."""
    asyncio.run(server.configured().serve(sockets=[listener]))


def warm_up(ip: str, port: int, model: str) -> None:
    """Fetch a model from the server of this very host."""
    connection = http.client.HTTPConnection(ip, port)
    connection.request("GET", f"/models/{quote(model)}.safetensors")
    connection.getresponse().read()
    connection.close()


def _client(request: Request) -> tuple[str, int]:
    client = request.client
    return (client.host, client.port) if client else ("", 0)


def _address(request: Request) -> str:
    return _client(request)[0]


def _common(file: ServedFile) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "ETag": file.etag,
    }
