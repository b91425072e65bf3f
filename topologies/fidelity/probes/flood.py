"""A flood of datagrams in a fixed rhythm; it keeps a line full on the virtual clock.

On the real clock a thread of Python would not keep up with fast lines.
"""

import ctypes
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from topologies.fidelity.probes.link_ends import Vantage

PR_SET_TIMERSLACK = 29  # linux/prctl.h; the kernel's own 50 us would make bursts of datagrams
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def flooding(
    sender: Vantage, receiver: Vantage, payload_bytes: int, per_s: float
) -> Iterator[None]:
    """Send ``per_s`` datagrams a second, one by one, while the block lasts; they are never read."""
    stop = threading.Event()
    with receiver.socket(socket.SOCK_DGRAM) as into, sender.socket(socket.SOCK_DGRAM) as out:
        into.bind((receiver.ip, 0))
        out.connect(into.getsockname())
        thread = threading.Thread(target=_send, args=(out, bytes(payload_bytes), 1 / per_s, stop))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _send(out: socket.socket, payload: bytes, spacing_s: float, stop: threading.Event) -> None:
    _libc.prctl(PR_SET_TIMERSLACK, 1)
    begin = time.monotonic()
    sent = 0
    while not stop.is_set():
        out.send(payload)
        sent += 1
        time.sleep(max(0.0, begin + sent * spacing_s - time.monotonic()))
