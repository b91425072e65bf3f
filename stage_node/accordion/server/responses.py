"""The bodies that a model server sends: a part of a file, or blocks of it until a deadline."""

from collections.abc import Callable, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from stage_node.accordion.protocol import Block, Sending, Streaming
from stage_node.accordion.server.connections import UeConnection
from stage_node.accordion.server.faults import Fault
from stage_node.records.configuration import Configuration

PIECE_MS = 5.0
PIECE_BYTES = (8 << 10, 256 << 10)
"""A piece of a stream lasts a few milliseconds on the link, within these bounds."""

StreamEnded = Callable[[Configuration, int, float, str], None]
"""Told what was sent whole, where it ended, at what rate in Mbit/s, and why there."""


class FileResponse(Response):
    """Bytes of a file from ``first_byte`` on, with a fault where the experiment wants one."""

    def __init__(
        self,
        content: memoryview,
        first_byte: int,
        status: int,
        headers: Mapping[str, str],
        connection: UeConnection | None,
        fault: Fault | None,
    ) -> None:
        super().__init__(content, status, headers)
        self._first_byte = first_byte
        self._connection = connection
        self._fault = fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        if self._connection is not None:
            self._connection.begin()
        if self._fault is None:
            await super().__call__(scope, receive, send)
            return
        body = _struck(bytes(self.body), self._first_byte, self._fault)
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        whole = len(body) == len(self.body)
        await send({"type": "http.response.body", "body": body, "more_body": not whole})
        if not whole:
            await _cut(self._connection, receive)


class StreamResponse(Response):
    """Blocks of a file in chunks, each decided on when the one before has almost gone out."""

    def __init__(
        self,
        content: bytes,
        streaming: Streaming,
        connection: UeConnection,
        request_ns: int,
        headers: Mapping[str, str],
        ended: StreamEnded,
        fault: Fault | None,
    ) -> None:
        super().__init__(None, 200, headers)
        del self.headers["content-length"]
        self._content = content
        self._streaming = streaming
        self._connection = connection
        self._request_ns = request_ns
        self._ended = ended
        self._fault = fault
        self._end_byte = streaming.first_byte

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        self._connection.begin()
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        whole: Configuration = ()
        reason = "nothing more was asked for"
        for block in self._streaming.blocks:
            objection = await self._send_block(block, send)
            if objection is not None:
                reason = objection
                break
            if self._fault is not None and self._fault.cut_at_byte == self._end_byte:
                await _cut(self._connection, receive)
                return
            whole = block.configuration
        mbit = self._state().path.delivery_rate_mbit
        self._ended(whole, self._end_byte, mbit, reason)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_block(self, block: Block, send: Send) -> str | None:
        """Send a block piece by piece; why its rest was not sent, if it was not."""
        begun = False
        while self._end_byte < block.end_byte:
            await self._connection.taken()
            state = self._state()
            missing = block.end_byte - self._end_byte
            objection = self._streaming.objection(state, missing, begun)
            if objection is not None:
                return objection
            size = piece_bytes(state)
            self._connection.small_buffers(size)
            begin, end = self._end_byte, self._end_byte + min(size, missing)
            piece, self._end_byte, begun = self._content[begin:end], end, True
            if self._fault is not None and begin <= self._fault.at_byte < end:
                piece = _struck(piece, begin, self._fault)
                self._end_byte = begin + len(piece)
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            if len(piece) < end - begin:
                return None
        return None

    def _state(self) -> Sending:
        return self._connection.sending(self._request_ns)


def piece_bytes(state: Sending) -> int:
    """Bytes of a stream to hand over at once: little, but enough that the link never waits.

    In slow start a burst of answers lets as much go at once as the whole window before.
    """
    least, most = PIECE_BYTES
    paced = round(state.path.delivery_rate_mbit * 125 * PIECE_MS)
    return min(max(least, paced, state.path.window_bytes if state.path.slow_start else 0), most)


def _struck(content: bytes, first_byte: int, fault: Fault) -> bytes:
    """Content from ``first_byte`` on as a fault leaves it."""
    place = fault.at_byte - first_byte
    if fault.cut_at_byte is not None:
        return content[:place]
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


async def _cut(connection: UeConnection | None, receive: Receive) -> None:
    """End a connection in the middle of a response."""
    assert connection is not None, "faults need a server's own connections"
    connection.cut()
    while (await receive())["type"] != "http.disconnect":
        pass
