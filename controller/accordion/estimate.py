"""What the model server believes of a UE's link, and how it learns.

Passive: nothing is sent to measure. A belief begins with the link's profile, and every connection
that ends says something (:class:`stage_node.tcp_info.PathEstimate`):

=============  ============================  ====================================================
belief         a connection that             becomes
=============  ============================  ====================================================
``profile``    was too short                 the same
``profile``    the window limited, slower    the same: the link may carry more
``profile``    the window limited, faster    ``measured``, at that rate: the link carries as much
``profile``    the link limited              ``measured``, at that rate
``measured``   was too short                 the same
``measured``   the window limited, slower    the same
otherwise                                    ``measured``, half way to the new rate
=============  ============================  ====================================================

A connection too short tells no rate. The round-trip time follows the connection's shortest in
the same way: at once at first, then half way.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from stage_node.tcp_info import PathEstimate

SEGMENT_BYTES, FRAME_BYTES = 1448, 1514  # Ethernet, IPv4, TCP with timestamps
INITIAL_WINDOW_SEGMENTS = 10  # RFC 6928
TELLING_BYTES = 2 * INITIAL_WINDOW_SEGMENTS * SEGMENT_BYTES
"""A connection that carried less never had more than its first windows in flight."""
WEIGHT = 0.5

Source = Literal["profile", "measured"]


@dataclass(frozen=True)
class LinkEstimate:
    """Rate on the wire, headers included, and round-trip time; ``source`` says from where.

    ``window_segments`` is what a connection may have in flight before the first answer.
    """

    rate_mbit: float
    rtt_ms: float
    source: Source = "profile"
    window_segments: int = INITIAL_WINDOW_SEGMENTS


def learned(belief: LinkEstimate, path: PathEstimate) -> LinkEstimate:
    """The belief after a connection of which the kernel says ``path``; see the table above."""
    if path.acked_bytes < TELLING_BYTES or not path.delivery_rate_mbit or not path.min_rtt_ms:
        return belief
    rate_mbit = path.delivery_rate_mbit * FRAME_BYTES / SEGMENT_BYTES
    if path.window_limited and rate_mbit <= belief.rate_mbit:
        return belief
    share = 1.0 if belief.source == "profile" else WEIGHT
    return replace(
        belief,
        rate_mbit=belief.rate_mbit + share * (rate_mbit - belief.rate_mbit),
        rtt_ms=belief.rtt_ms + share * (path.min_rtt_ms - belief.rtt_ms),
        source="measured",
    )


def path_window(link: LinkEstimate) -> int:
    """Segments that fill a round trip and the first segment's own time: it never waits then."""
    under_way = link.rate_mbit * link.rtt_ms * 125 / FRAME_BYTES
    return max(INITIAL_WINDOW_SEGMENTS, math.ceil(under_way) + 1)
