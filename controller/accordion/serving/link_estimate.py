"""The model server's estimate of a UE's link, and how it is updated.

Passive: nothing is sent to measure. A belief begins with the link's profile, and every connection
that ends says something: the kernel knows how long it was busy with how many bytes, and the model
of a download below (:func:`download_time_ms`) how fast the link must be for that. A short answer
over a long path takes as long on any fast link; so a connection gives a range of rates, those at
which it would have taken as long within ``TOLERANCE``, perhaps without an upper end.

=============  ==============================  =============================================
belief         a connection that               becomes
=============  ==============================  =============================================
any            was too short                   the same
any            agrees: its range holds it      ``measured``, at the same rate
``profile``    disagrees                       ``measured``, at the connection's rate
``measured``   disagrees                       ``measured``, half way to the connection's rate
``measured``   (a request was refused)         half way back to the profile
=============  ==============================  =============================================

The connection's rate is the one at which it would have taken just as long, or the lower end of
its range where there is no upper one. The round-trip time follows its shortest: at once at first,
then half way. A refusal sends nothing from which to learn: without the way back one bad
measurement would stay for ever.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from stage_node.accordion.download_time import least_download_time
from stage_node.records.line.ethernet import FRAME_BYTES, INITIAL_WINDOW_SEGMENTS, SEGMENT_BYTES
from stage_node.records.line.transfer_time import bytes_per_ms, ideal_goodput_mbit
from stage_node.wire.tcp_info import PathEstimate

RESPONSE_HEADER_BYTES = 512
TELLING_BYTES = INITIAL_WINDOW_SEGMENTS * SEGMENT_BYTES
"""A connection that carried less never waited for an answer."""
TOLERANCE, TOLERANCE_MS = 0.03, 10.0
"""How exactly a connection's duration is known: the larger of a share and what a host may add."""
PACE = 1.1
"""Times the link's goodput: what a host's pauses take is caught up, and a queue of one
bandwidth-delay product holds out for ten of them."""
RATES_MBIT = 1e-3, 1e5
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


@dataclass(frozen=True)
class RateSample:
    """The rates at which a connection would have taken as long; no ``high``: any above."""

    low_mbit: float
    rate_mbit: float
    high_mbit: float | None


def download_time_ms(size_bytes: int, link: LinkEstimate) -> float:
    """From the UE's SYN to the last byte of a response of ``size_bytes`` on an idle link.

    In whole segments, with the response's header; see ``stage_node.accordion.download_time``.
    """
    segments = math.ceil((size_bytes + RESPONSE_HEADER_BYTES) / SEGMENT_BYTES)
    return least_download_time(
        segments * SEGMENT_BYTES,
        SEGMENT_BYTES,
        goodput_mbit(link),
        link.rtt_ms,
        link.window_segments,
    ).total_ms


def sampled(path: PathEstimate, window_segments: int) -> RateSample | None:
    """Range of the link's rate after a connection; None if that was too short."""
    if path.acked_bytes < TELLING_BYTES or not path.busy_ms or not path.min_rtt_ms:
        return None
    # Busy from the first byte out to the last answer in: all but the handshake.
    took_ms = path.busy_ms + path.min_rtt_ms
    unsure_ms = max(TOLERANCE * took_ms, TOLERANCE_MS)
    size = path.acked_bytes - RESPONSE_HEADER_BYTES

    def time_ms(rate_mbit: float) -> float:
        link = LinkEstimate(rate_mbit, path.min_rtt_ms, window_segments=window_segments)
        return download_time_ms(size, link)

    low = _rate(time_ms, took_ms + unsure_ms)
    high = _rate(time_ms, took_ms - unsure_ms)
    if low is None:
        return None
    if high is None:
        return RateSample(low, low, None)
    return RateSample(low, _rate(time_ms, took_ms) or low, high)


def learned(belief: LinkEstimate, path: PathEstimate) -> LinkEstimate:
    """Update the estimate after a connection with the kernel's ``path``; see the table above."""
    sample = sampled(path, belief.window_segments)
    if sample is None:
        return belief
    agrees = sample.low_mbit <= belief.rate_mbit <= (sample.high_mbit or math.inf)
    told_mbit = belief.rate_mbit if agrees else sample.rate_mbit
    share = 1.0 if belief.source == "profile" else WEIGHT
    return replace(
        belief,
        rate_mbit=belief.rate_mbit + share * (told_mbit - belief.rate_mbit),
        rtt_ms=belief.rtt_ms + share * (path.min_rtt_ms - belief.rtt_ms),
        source="measured",
    )


def doubted(belief: LinkEstimate, profile: LinkEstimate) -> LinkEstimate:
    """The belief after a request was refused because of it; see the table above."""
    return replace(
        belief,
        rate_mbit=belief.rate_mbit + WEIGHT * (profile.rate_mbit - belief.rate_mbit),
        rtt_ms=belief.rtt_ms + WEIGHT * (profile.rtt_ms - belief.rtt_ms),
    )


def path_window(link: LinkEstimate) -> int:
    """Segments that fill a round trip and the first segment's own time: it never waits then."""
    under_way = bytes_per_ms(link.rate_mbit) * link.rtt_ms / FRAME_BYTES
    return max(INITIAL_WINDOW_SEGMENTS, math.ceil(under_way) + 1)


def goodput_mbit(link: LinkEstimate) -> float:
    """Payload that full segments carry at the link's rate."""
    return ideal_goodput_mbit(link.rate_mbit)


def paced_mbit(link: LinkEstimate) -> float:
    """Payload to send at most: the link never waits, its queue grows by little of a download."""
    return PACE * goodput_mbit(link)


def _rate(time_ms: Callable[[float], float], wanted_ms: float) -> float | None:
    """The lowest rate at which a download takes no longer; None if none is fast enough."""
    low, high = RATES_MBIT
    if time_ms(high) > wanted_ms:
        return None
    while high / low > 1.0001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if time_ms(middle) <= wanted_ms else (middle, high)
    return high
