"""The connections of a model server, with what their kernel sockets know."""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from stage_node.accordion.protocol import Sending
from stage_node.wire.tcp_info import PathEstimate, path_estimate, unacknowledged_bytes

TCP_NOTSENT_LOWAT = 25  # linux/tcp.h
SO_MAX_PACING_RATE = 47  # asm-generic/socket.h; socket(7)
TICK_MS = 10.0  # of a kernel with HZ=100, the longest in use

Ended = Callable[[str, PathEstimate], None]
"""Told of a connection's end: the peer's address, and what the kernel learned of the path."""


class UeConnection(H11Protocol):
    """One connection; registered with its ``Connections`` while it lasts."""

    def __init__(self, connections: "Connections", *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connections = connections
        self._begin_ns: int | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Register it."""
        super().connection_made(transport)
        if self.client is not None:
            self._connections.open[self.client] = self
            # Or the last piece of a response waits until its head, a small segment as well, has
            # been acknowledged: a round trip. asyncio turns Nagle off only on sockets that were
            # made with IPPROTO_TCP, and a server's are not.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pace(self._connections.pace_mbit.get(self.client[0]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell what the kernel knows of the path; the socket is still open here."""
        if self.client is not None:
            self._connections.open.pop(self.client, None)
            self._connections.tell(self.client[0], self._experience())
        super().connection_lost(exc)

    def begin(self) -> None:
        """The first answer is about to be written."""
        self._begin_ns = self._begin_ns or time.monotonic_ns()

    def _experience(self) -> PathEstimate:
        """State of the connection.

        The kernel counts busy time in ticks. A UE that closes when it has all shows it better,
        but others linger.
        """
        path = path_estimate(self._socket)
        if self._begin_ns is None:
            return path
        lasted_ms = (time.monotonic_ns() - self._begin_ns) / 1e6
        return replace(path, busy_ms=min(lasted_ms, path.busy_ms + TICK_MS))

    def small_buffers(self, unsent_bytes: int) -> None:
        """Take no more than this number of bytes ahead of what is on its way already."""
        self.transport.set_write_buffer_limits(0)
        self._socket.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, unsent_bytes)

    async def taken(self) -> None:
        """Until the kernel has taken all that was written."""
        if self.flow.write_paused:
            await self.flow.drain()

    def sending(self, request_ns: int) -> Sending:
        """The state of the response to a request that came at ``request_ns``.

        The first request of a connection comes one and a half round trips after the UE's SYN.
        """
        path = path_estimate(self._socket)
        since_ms = (time.monotonic_ns() - request_ns) / 1e6
        return Sending(
            elapsed_ms=since_ms + 1.5 * path.min_rtt_ms,
            unacknowledged_bytes=unacknowledged_bytes(self._socket),
            path=path,
        )

    def _pace(self, mbit: float | None) -> None:
        """Let the kernel send payload no faster."""
        if mbit is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, round(mbit * 125e3))

    def cut(self) -> None:
        """End it once what was written has gone out."""
        self.transport.close()

    @property
    def _socket(self) -> socket.socket:
        sock: socket.socket = self.transport.get_extra_info("socket")
        return sock


class Connections:
    """The open connections by the peer's address and port; ``tell`` receives each one's end.

    ``pace_mbit`` is how fast payload is sent at most, by the peer's address.
    """

    def __init__(
        self,
        tell: Ended = lambda ue, path: None,
        pace_mbit: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.open: dict[tuple[str, int], UeConnection] = {}
        self.tell = tell
        self.pace_mbit = pace_mbit

    def protocol(self, *args: Any, **kwargs: Any) -> UeConnection:
        """Make the protocol of a new connection, for uvicorn."""
        return UeConnection(self, *args, **kwargs)
