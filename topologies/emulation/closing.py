"""Connections that a host's kernel still closes after their processes have ended.

A segment that ends a connection is sent again until it is acknowledged, on a lossy link a second
or more after the last process has gone. See proc(5) and include/net/tcp_states.h.
"""

from pathlib import Path

FIN_WAIT1, LAST_ACK, CLOSING = "04", "09", "0B"
RETRANSMITTING = frozenset({FIN_WAIT1, LAST_ACK, CLOSING})


def is_closing(pid: int) -> bool:
    """Return True if a TCP connection in the network namespace of ``pid`` waits for its last
    acknowledgement."""
    return any_closing(Path(f"/proc/{pid}/net/tcp").read_text())


def any_closing(table: str) -> bool:
    """Return the same for the text of ``/proc/net/tcp``."""
    states = (line.split()[3] for line in table.splitlines()[1:])
    return not RETRANSMITTING.isdisjoint(states)
