"""What is asked of the kernel, and what a refusal says; ``tests/e2e`` has the packets."""

import errno
import os
import socket
import struct
from typing import cast

import pytest

from stage_node.wire.receive_window import (
    REPAIR_OFF_SILENTLY,
    REPAIR_ON,
    TCP_REPAIR,
    TCP_REPAIR_WINDOW,
    ReceiveWindowError,
    open_receive_window,
)

SENDING = (1001, 64_000, 65_000)


class Kernel:
    """Stands for a connection, and remembers what was set."""

    def __init__(self, window: int, refuses: bool = False) -> None:
        self.window = struct.pack("5I", *SENDING, window, 2002)
        self.refuses = refuses
        self.calls: list[tuple[int, int | bytes]] = []

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        assert level == socket.IPPROTO_TCP
        if self.refuses:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        self.calls.append((option, value))

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option, size) == (socket.IPPROTO_TCP, TCP_REPAIR_WINDOW, 20)
        return self.window


@pytest.mark.parametrize(("offered", "then"), [(65_535, 500_000), (700_000, 700_000)])
def test_the_window_grows_and_nothing_else_changes(offered: int, then: int) -> None:
    kernel = Kernel(offered)
    assert open_receive_window(cast(socket.socket, kernel), 500_000) == then
    assert kernel.calls == [
        (TCP_REPAIR, REPAIR_ON),
        (TCP_REPAIR_WINDOW, struct.pack("5I", *SENDING, then, 2002)),
        (TCP_REPAIR, REPAIR_OFF_SILENTLY),
    ]


def test_a_refusal_is_no_error_of_the_network() -> None:
    with pytest.raises(ReceiveWindowError, match="receive window: Operation not permitted"):
        open_receive_window(cast(socket.socket, Kernel(65_535, refuses=True)), 500_000)
