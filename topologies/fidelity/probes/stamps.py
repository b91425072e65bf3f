"""When the kernel received what a socket read: SO_TIMESTAMPNS, see socket(7).

A stamp is taken as the packet comes in, so it does not tell how late the reader was served.
"""

import socket
import struct

SO_TIMESTAMPNS = 35  # asm-generic/socket.h; Python has no name for it before 3.14
_TIMESPEC = struct.Struct("qq")
STAMP_SPACE = socket.CMSG_SPACE(_TIMESPEC.size)

Ancillary = list[tuple[int, int, bytes]]


def enable_stamps(receiver: socket.socket) -> None:
    """Have ``recvmsg`` report stamps; for TCP that of the last segment read whole."""
    receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)


def stamp_ns(ancillary: Ancillary) -> int | None:
    """Wall-clock nanoseconds at which it was received; ``None`` where there is no stamp."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return None
