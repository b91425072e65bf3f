"""Makes connections: listen, connect, accept, and the HELLO both ways."""

import socket
import time

from stage_node.errors import PeerLostError
from stage_node.wire.channel import Channel
from stage_node.wire.contract import Hello
from stage_node.wire.frame import FrameKind, Header

RETRY_INTERVAL_S = 0.02
HELLO_TIMEOUT_S = 30.0


def listen(ip: str, port: int) -> socket.socket:
    """A listening socket; ``PeerLostError`` when the address cannot be used."""
    try:
        return socket.create_server((ip, port))
    except OSError as error:
        raise PeerLostError(f"cannot listen on {ip}:{port}: {error.strerror}") from None


def connect(ip: str, port: int, timeout_s: float) -> socket.socket:
    """A connection to a peer that may not listen yet; ``PeerLostError`` after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return socket.create_connection((ip, port), max(deadline - time.monotonic(), 0.001))
        except OSError as error:
            if time.monotonic() + RETRY_INTERVAL_S >= deadline:
                raise PeerLostError(f"cannot connect to {ip}:{port}: {error}") from None
            time.sleep(RETRY_INTERVAL_S)


def accept(listener: socket.socket, timeout_s: float | None, awaited: str) -> socket.socket:
    """The next connection; ``PeerLostError`` when ``awaited`` does not come in time."""
    listener.settimeout(timeout_s)
    try:
        return listener.accept()[0]
    except OSError as error:
        raise PeerLostError(f"{awaited} did not connect: {error}") from None


def greet(channel: Channel, hello: Hello) -> Hello:
    """Exchange HELLOs and return the peer's, which agrees with ours.

    ``ContractMismatchError`` says what differs. Both sides send before they compare, so both know.
    """
    payload = hello.to_payload()
    channel.send(Header(kind=FrameKind.HELLO, payload_bytes=len(payload)), payload)
    channel.set_receive_timeout(HELLO_TIMEOUT_S)
    theirs = Hello.from_payload(channel.receive().payload)
    channel.set_receive_timeout(None)
    if channel.log:
        channel.log.peer = theirs.name
    hello.check(theirs)
    return theirs
