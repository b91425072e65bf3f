"""One download: a GET that is ready before the connection opens, and the bytes as they come."""

import http.client
import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Self
from urllib.parse import quote, urlencode

from stage_node.accordion.protocol import FIRST_BYTE_HEADER
from stage_node.errors import StageNodeError
from stage_node.wire.receive_window import open_receive_window

READ_BYTES = 1 << 18
WAKE_BYTES = 1 << 14  # a wake-up per packet would cost more than the packet
IDLE_TIMEOUT_S = 30.0


class DeliveryError(StageNodeError):
    """The model server went away, or sent something else than was asked for."""


class InterruptedDeliveryError(DeliveryError):
    """The connection could not be made, or broke; asking again may help."""


class DownloadRefusedError(DeliveryError):
    """The server will not send what was asked for; ``status`` is its HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the model server refused ({status}): {reason}")
        self.status = status
        self.reason = reason


def get_request(
    server: tuple[str, int],
    model: str,
    needs: Mapping[str, float | str],
    first_byte: int = 0,
    end_byte: int | None = None,
    etag: str | None = None,
) -> bytes:
    """The GET for a model from ``first_byte`` on; see :mod:`stage_node.accordion.protocol`.

    ``needs`` are its query parameters; without any the file is asked for, to before ``end_byte``.
    The connection is the UE's to close: a server that closed it first would not learn when the
    last bytes arrived.
    """
    query = f"?{urlencode(needs)}" if needs else ""
    lines = [
        f"GET /models/{quote(model)}.safetensors{query} HTTP/1.1",
        f"Host: {server[0]}:{server[1]}",
    ]
    if first_byte or not needs:
        lines.append(f"Range: bytes={first_byte}-{'' if end_byte is None else end_byte - 1}")
    if etag is not None:
        lines.append(f"If-Match: {etag}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


@contextmanager
def _delivery_errors() -> Iterator[None]:
    """Say what went wrong on the network as this house's error."""
    try:
        yield
    except (OSError, http.client.RemoteDisconnected, http.client.IncompleteRead) as error:
        raise InterruptedDeliveryError(f"the model server did not deliver: {error!r}") from None
    except http.client.HTTPException as error:
        raise DeliveryError(f"the model server did not deliver: {error!r}") from None


class Download:
    """A response that continues a file from ``first_byte``; ``DeliveryError`` where it does not."""

    def __init__(
        self, connection: socket.socket, first_byte: int, receive_window_bytes: int | None = None
    ) -> None:
        self.receive_window_bytes = receive_window_bytes
        """What was offered with the request, where it was not left to the kernel."""
        self._connection = connection
        self._response = http.client.HTTPResponse(connection, method="GET")
        self.end_byte: int | None = first_byte
        """Before which byte of the file the response is to end; None: only its end will tell."""
        with _delivery_errors():
            self._response.begin()
            if self._response.status == http.client.NO_CONTENT:
                return
            if self._response.status not in (http.client.OK, http.client.PARTIAL_CONTENT):
                raise DownloadRefusedError(self._response.status, self._reason())
        begins, self.end_byte = self._place()
        if begins != first_byte:
            raise DeliveryError(f"asked for bytes from {first_byte}, the answer begins at {begins}")

    @classmethod
    def open(
        cls,
        server: tuple[str, int],
        request: bytes,
        first_byte: int,
        receive_window_bytes: int | None = None,
    ) -> Self:
        """Connect to an IPv4 address and port, ask, and wait for the head of the response.

        With ``receive_window_bytes`` that much may be under way at once from the beginning
        (:mod:`stage_node.wire.receive_window`).
        """
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with ExitStack() as opened:
            opened.callback(connection.close)
            connection.settimeout(IDLE_TIMEOUT_S)
            with _delivery_errors():
                connection.connect(server)
                offered = None
                if receive_window_bytes is not None:
                    offered = open_receive_window(connection, receive_window_bytes)
                connection.sendall(request)
            download = cls(connection, first_byte, offered)
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
    def header_bytes(self) -> int:
        """Length of the response's status line and header, written as RFC 9112 prefers."""
        response = self._response
        lines = [f"HTTP/1.1 {response.status} {response.reason}"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        return sum(len(line) + 2 for line in (*lines, ""))

    def read(self, wanted: int) -> bytes:
        """Receive bytes, once they are ``wanted`` or enough to be worth waking up for.

        Nothing once the response is complete; ``InterruptedDeliveryError`` where it breaks off.
        """
        remaining = self._response.length
        if remaining == 0 or self._response.isclosed():
            return b""
        # Of a response in chunks it is not known how many bytes are still to come.
        at_least = 1 if remaining is None else max(1, min(wanted, remaining, WAKE_BYTES))
        with _delivery_errors():
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, at_least)
            data = self._response.read1(READ_BYTES)
        if not data and remaining:
            raise InterruptedDeliveryError(f"the connection ended {remaining} bytes too early")
        return data

    def close(self) -> None:
        """End the connection."""
        self._response.close()
        self._connection.close()

    def _reason(self) -> str:
        """Read the server's words about its refusal."""
        body = self._response.read(READ_BYTES).decode("utf-8", "replace")
        try:
            return str(json.loads(body)["error"])
        except (ValueError, KeyError, TypeError):
            return body.strip() or self._response.reason

    def _place(self) -> tuple[int, int | None]:
        """Range of the file in the response's body: first byte, and end."""
        headers = self._response.headers
        if self._response.status == http.client.OK:
            streamed = headers.get(FIRST_BYTE_HEADER)
            return int(streamed or 0), None if streamed else self._response.length
        described = headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", described)
        if match is None:
            raise DeliveryError(f"the model server's Content-Range makes no sense: {described!r}")
        return int(match[1]), int(match[2]) + 1
