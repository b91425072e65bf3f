"""A receive window that is wide from the first answer on.

A SYN's window is not scaled (RFC 7323, 2.2), so a connection opens with 64 kB at most, and Linux
widens that only as data arrive: a path that holds more stays idle for most of the first round
trips, whatever the sender's window. Linux lets a privileged process set the window of an open
connection (``TCP_REPAIR_WINDOW`` of linux/tcp.h, made for checkpoints of containers); one that
was offered is never taken back.
"""

import socket
import struct

from stage_node.errors import StageNodeError

TCP_REPAIR, TCP_REPAIR_WINDOW = 19, 29  # linux/tcp.h; Python has no names for these
REPAIR_ON, REPAIR_OFF_SILENTLY = 1, -1
_WINDOW = struct.Struct("5I")
"""``struct tcp_repair_window``: snd_wl1, snd_wnd, max_window, rcv_wnd, rcv_wup."""


class ReceiveWindowError(StageNodeError):
    """The kernel refuses; it needs the rights of the network's root."""


def open_receive_window(connection: socket.socket, size_bytes: int) -> int:
    """Offer at least ``size_bytes`` with the next segment that the connection sends; how many
    it offers, which is more where the kernel offered more already.

    Needs CAP_NET_ADMIN (``ReceiveWindowError``); the receive buffer must have room for it.
    """
    try:
        connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_ON)
        state = connection.getsockopt(socket.IPPROTO_TCP, TCP_REPAIR_WINDOW, _WINDOW.size)
        *sending, window, acknowledged = _WINDOW.unpack(state)
        offered = max(window, size_bytes)
        wider = _WINDOW.pack(*sending, offered, acknowledged)
        connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_WINDOW, wider)
        connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_OFF_SILENTLY)
    except OSError as error:
        raise ReceiveWindowError(f"cannot open the receive window: {error.strerror}") from error
    return int(offered)
