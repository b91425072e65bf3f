"""Size of a receive buffer for a window: the kernel's own arithmetic, by its release.

Before Linux 6.6 half of a buffer is window (``tcp_adv_win_scale``). From 6.6 on it is the
share that payload has in the memory of the segments that arrive (``scaling_ratio`` in ``tcp_sock``,
in 256ths): half until the first full segment, then what that one shows. One of 1448 bytes that
came through veth, not merged with others, has a page and its ``sk_buff``: 81 to 85 of 256, as large
as the kernel's configuration makes that; segments that were written one by one are smaller.
"""

import os
import re

from topologies.errors import EmulationError

WINDOW_BY_SHARE = (6, 6)
WHOLE, HALF, LEAST_SHARE = 256, 128, 81


def receive_buffer_bytes(window_bytes: int, release: str | None = None) -> int:
    """Find the receive buffer, in bytes, whose window is ``window_bytes``, or up to 5 % more.

    ``release`` is the kernel's, as uname(2) has it; default: that of the one that runs here.
    """
    share = _window_share(release or os.uname().release)
    return -(-window_bytes * WHOLE // share)


def _window_share(release: str) -> int:
    """The 256ths of a receive buffer that are window once segments flow."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers is None:
        raise EmulationError(f"the kernel's release {release!r} does not begin with two numbers")
    major, minor = map(int, numbers.groups())
    return LEAST_SHARE if (major, minor) >= WINDOW_BY_SHARE else HALF
