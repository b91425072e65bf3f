"""A TCP connection that carries frames: few system calls, no copies, bounded memory.

**Receiving.** ``recvmsg_into`` writes payloads straight into buffers of a ``Ring``, and takes the
next frame's header along when it has arrived. ``SO_RCVLOWAT`` is set to the bytes still missing,
so the kernel wakes the reader once per frame and not once per packet (a system call costs 15 to
60 µs in a User-Mode Linux guest). The reader waits in ``poll``, not in ``recvmsg``: that would take
what is there and go on waiting for a low-water mark that the rest can no longer reach. The mark is
capped at a quarter of the receive buffer: Linux advertises about half of that buffer as window and
sizes the window to two bandwidth-delay products, so one product stays open while the reader waits.

**Sending.** ``sendmsg`` takes header and payload together. ``TCP_NOTSENT_LOWAT`` bounds what the
kernel holds *unsent* to 64 KiB; what is in flight is bounded by congestion control alone. So a
frame waits in the stage's queue, where it is seen, and not in a socket buffer of megabytes; and the
kernel still has 32 KiB in hand (2.6 ms at 100 Mbit/s, beside a round trip in flight and the link's
own queue) when it wakes the sender for more. In the guest 16 to 128 KiB all filled a 100 Mbit/s
link of 20 ms to 99 % or more.

One thread may send while another receives.
"""

import contextlib
import mmap
import queue
import select
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from stage_node.errors import PeerLostError, WireError
from stage_node.wire.frame import HEADER_BYTES, FrameKind, Header
from stage_node.wire.frame_log import FrameLog
from stage_node.wire.tcp_info import PathEstimate, path_estimate

UNSENT_BYTES = 64 * 1024
PEER_TIMEOUT_S = 60
"""A peer's kernel that acknowledges nothing, or whose window stays shut, for so long is lost."""


class Ring:
    """Buffers for payloads, allocated (and touched) once, used in turn.

    ``take`` lends a buffer to the receiver and waits while all are lent: TCP's back-pressure then
    reaches the sender. A buffer belongs to the holder of its ``Frame``, tensors decoded from it
    included, until ``Frame.release`` gives it back; only then is it written again.
    """

    def __init__(self, slots: int, size_bytes: int) -> None:
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
        for _ in range(slots):
            self._free.put(memoryview(mmap.mmap(-1, max(size_bytes, 1), flags=flags)))

    def take(self) -> memoryview:
        """A free buffer; waits for one."""
        return self._free.get()

    def give(self, buffer: memoryview) -> None:
        """Take a buffer back."""
        self._free.put(buffer)


@dataclass(frozen=True, slots=True)
class Frame:
    """A received frame. ``release`` it when neither payload nor a view of it is needed any more.

    ``transfer_ns`` is how long the receiver had to wait for the payload, once it had the header
    and a buffer: what the connection costs, whatever else its two ends are busy with.
    """

    header: Header
    payload: memoryview
    release: Callable[[], None]
    transfer_ns: int


class Channel:
    """Frames over one connected TCP socket.

    ``limits`` has the largest acceptable payload of every acceptable kind and may be replaced as
    the conversation continues. Byte offsets in ``log`` count from the connection's first byte.
    """

    def __init__(
        self, sock: socket.socket, limits: Mapping[FrameKind, int], log: FrameLog | None = None
    ) -> None:
        self.limits = limits
        self.log = log
        self._socket = sock
        self._sent_bytes = 0
        self._received_bytes = 0
        self._header = memoryview(bytearray(HEADER_BYTES))
        self._header_filled = 0
        self._t_header_ns = 0
        self._low_water = 1
        self._update_low_water_cap()
        self._timeout_ms: float | None = None
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        sock.setblocking(True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PEER_TIMEOUT_S * 1000)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PEER_TIMEOUT_S // 2)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PEER_TIMEOUT_S // 6)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def send(self, header: Header, payload: bytes | memoryview = b"", t_queued_ns: int = 0) -> None:
        """Hand one frame to the kernel; returns when the payload may be changed again.

        ``PeerLostError`` when the connection is gone.
        """
        t_begin_ns = time.monotonic_ns()
        head = memoryview(replace(header, t_sent_ns=t_begin_ns).encode())
        body = memoryview(payload)
        total = HEADER_BYTES + len(body)
        try:
            sent = self._socket.sendmsg([head, body])
            while sent < total:
                rest = [head[sent:], body] if sent < HEADER_BYTES else [body[sent - HEADER_BYTES :]]
                sent += self._socket.sendmsg(rest)
        except OSError as error:
            raise PeerLostError(f"cannot send: {error.strerror}") from error
        first = self._sent_bytes
        self._sent_bytes += total
        if self.log:
            self.log.sent(header, first, t_queued_ns, t_begin_ns, time.monotonic_ns())

    def receive(self, ring: Ring | None = None) -> Frame:
        """Wait for the next frame; its payload lies in a buffer of ``ring``, or in its own.

        ``WireError`` when the peer breaks the format or ``limits``, before anything is allocated;
        ``PeerLostError`` when it closed the connection.
        """
        header = self._receive_header()
        t_begin_ns, self._header_filled = self._t_header_ns, 0
        size = header.payload_bytes
        slot = ring.take() if ring and size else memoryview(bytearray(size))
        payload = slot[:size]
        if size > self._low_water_cap:
            self._update_low_water_cap()
        t_payload_ns = time.monotonic_ns()
        filled = 0
        while filled < size:
            filled += self._receive_into([payload[filled:], self._header], size - filled)
        t_end_ns = time.monotonic_ns()
        if filled > size:
            self._header_filled, self._t_header_ns = filled - size, t_end_ns
        first = self._received_bytes
        self._received_bytes += HEADER_BYTES + size
        if self.log:
            self.log.received(header, first, t_begin_ns, t_end_ns)

        def release() -> None:
            if ring and size:
                ring.give(slot)

        return Frame(header, payload, release, t_end_ns - t_payload_ns)

    def _receive_header(self) -> Header:
        while (filled := self._header_filled) < HEADER_BYTES:
            self._header_filled += self._receive_into(
                [self._header[filled:]], HEADER_BYTES - filled
            )
            if filled == 0:
                self._t_header_ns = time.monotonic_ns()
        header = Header.decode(self._header)
        limit = self.limits.get(header.kind)
        if limit is None:
            raise WireError(f"unexpected {header.kind.name} frame")
        if header.payload_bytes > limit:
            raise WireError(
                f"{header.kind.name} frame of {header.payload_bytes} bytes, at most {limit} allowed"
            )
        return header

    def _receive_into(self, buffers: list[memoryview], missing: int) -> int:
        """Take what is there, at least a byte; sleep until ``missing`` bytes are, if nothing is."""
        try:
            while True:
                with contextlib.suppress(BlockingIOError):
                    count = self._socket.recvmsg_into(buffers, 0, socket.MSG_DONTWAIT)[0]
                    break
                self._sleep_until(missing)
        except OSError as error:
            raise PeerLostError(f"cannot receive: {error.strerror}") from error
        if count == 0:
            raise PeerLostError("the connection was closed")
        return count

    def _sleep_until(self, missing: int) -> None:
        """Wait in poll(2), not in the read: a read that has copied something waits until the low
        water mark is reached by bytes *after* those (tcp_epollin_ready in Linux's net/ipv4/tcp.c
        counts from what was copied), which for the last frame of a burst is for ever.
        """
        low_water = min(missing, self._low_water_cap)
        if low_water != self._low_water:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, low_water)
            self._low_water = low_water
        if not self._readable.poll(self._timeout_ms):
            raise PeerLostError("no answer in time")

    def _update_low_water_cap(self) -> None:
        """The kernel enlarges a receive buffer as the path turns out to need it."""
        self._low_water_cap = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 4

    def set_receive_timeout(self, seconds: float | None) -> None:
        """Give up waiting for bytes after so long (``PeerLostError``); ``None``: never."""
        self._timeout_ms = None if seconds is None else 1000 * seconds

    def path(self) -> PathEstimate:
        """Kernel's estimate of the path to the peer."""
        return path_estimate(self._socket)

    def interrupt(self) -> None:
        """Make a thread that waits in ``receive`` see the end of the connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Close the connection; what was sent is still delivered."""
        self._socket.close()
