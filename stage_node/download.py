"""One download: a GET that is ready before the connection opens, and the bytes as they come."""

import http.client
import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Self
from urllib.parse import quote, urlencode

from stage_node.errors import StageNodeError

READ_BYTES = 1 << 18
WAKE_BYTES = 1 << 14  # a wake-up per packet would cost more than the packet
IDLE_TIMEOUT_S = 30.0


class DeliveryError(StageNodeError):
    """The model server refused, went away, or sent something else than was asked for."""


def get_request(
    server: tuple[str, int],
    model: str,
    needs: Mapping[str, float],
    first_byte: int = 0,
    etag: str | None = None,
) -> bytes:
    """The GET for a model from ``first_byte`` on, as :mod:`stage_node.delivery` describes it.

    ``needs`` are its query parameters; without any the rest of the file is asked for.
    """
    query = f"?{urlencode(needs)}" if needs else ""
    lines = [
        f"GET /models/{quote(model)}.safetensors{query} HTTP/1.1",
        f"Host: {server[0]}:{server[1]}",
        "Connection: close",
    ]
    if first_byte or not needs:
        lines.append(f"Range: bytes={first_byte}-")
    if etag is not None:
        lines.append(f"If-Match: {etag}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


@contextmanager
def _delivery_errors() -> Iterator[None]:
    """Say what went wrong on the network as this house's error."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise DeliveryError(f"the model server did not deliver: {error!r}") from None


class Download:
    """A response that continues a file from ``first_byte``; ``DeliveryError`` where it does not."""

    def __init__(self, connection: socket.socket, first_byte: int) -> None:
        self._connection = connection
        self._response = http.client.HTTPResponse(connection, method="GET")
        with _delivery_errors():
            self._response.begin()
            if self._response.status == http.client.NO_CONTENT:
                return
            if self._response.status not in (http.client.OK, http.client.PARTIAL_CONTENT):
                raise DeliveryError(
                    f"the model server refused ({self._response.status}): {self._reason()}"
                )
        if self._begins() != first_byte:
            raise DeliveryError(
                f"asked for bytes from {first_byte}, the answer begins at {self._begins()}"
            )

    @classmethod
    def open(cls, server: tuple[str, int], request: bytes, first_byte: int) -> Self:
        """Connect to an IPv4 address and port, ask, and wait for the head of the response."""
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with ExitStack() as opened:
            opened.callback(connection.close)
            connection.settimeout(IDLE_TIMEOUT_S)
            with _delivery_errors():
                connection.connect(server)
                connection.sendall(request)
            download = cls(connection, first_byte)
            opened.pop_all()
            return download

    @classmethod
    def rehearse(cls) -> None:
        """Read a response that never was, so that the first real one finds everything in place."""
        near, far = socket.socketpair()
        with near, far:
            far.sendall(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n"
                        b"Content-Range: bytes 0-0/1\r\nETag: x\r\n\r\n0")  # fmt: skip
            cls(near, first_byte=0).read(1)

    @property
    def local_port(self) -> int:
        """The port of this end."""
        port: int = self._connection.getsockname()[1]
        return port

    @property
    def etag(self) -> str | None:
        """The version of the file, as the server names it."""
        return self._response.headers.get("ETag")

    @property
    def remaining(self) -> int:
        """Bytes of the response that are still to be read."""
        return self._response.length or 0

    def read(self, wanted: int) -> bytes:
        """What has arrived, once it is ``wanted`` bytes or enough to be worth waking up for."""
        at_least = max(1, min(wanted, self.remaining, WAKE_BYTES))
        with _delivery_errors():
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, at_least)
            data = self._response.read1(READ_BYTES)
        if not data:
            raise DeliveryError(f"the connection ended {self.remaining} bytes too early")
        return data

    def close(self) -> None:
        """End the connection."""
        self._response.close()
        self._connection.close()

    def _reason(self) -> str:
        """What the server says about its refusal."""
        body = self._response.read(READ_BYTES).decode("utf-8", "replace")
        try:
            return str(json.loads(body)["error"])
        except (ValueError, KeyError, TypeError):
            return body.strip() or self._response.reason

    def _begins(self) -> int:
        """Where in the file the response's body begins."""
        if self._response.status == http.client.OK:
            return 0
        described = self._response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", described)
        if match is None:
            raise DeliveryError(f"the model server's Content-Range makes no sense: {described!r}")
        return int(match[1])
