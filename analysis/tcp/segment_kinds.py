"""Kinds of a stream's segments: new, sent again, out of order, a probe, a duplicate ACK.

One capture cannot always tell a segment sent again from one that overtook another, so there are
rules. These are Wireshark's ("TCP Analysis" in its User's Guide), since its words are the ones
that engineers compare with: a segment that does not advance the stream was *out of order* when it
came within one initial round trip of the segment that did advance it last, and else *sent again*.
Where the sender's own capture is at hand, ``Stream.repeated_bytes`` needs no rule.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from analysis.capture.packets import ACK, FIN, RST, SYN
from analysis.tcp.streams import NEVER, Bools, Int64s, Stream

ScalarT = TypeVar("ScalarT", bound=np.generic)

_FAST_NS = 20_000_000
"""A fast retransmission comes this soon after the duplicate acknowledgement that called it."""
_UNKNOWN_RTT_NS = 3_000_000
"""What stands for the initial round trip where the capture lacks the handshake."""


class SegmentKind(IntEnum):
    """Kind of a segment. The three kinds from ``RETRANSMISSION`` on were sent again."""

    PLAIN = 0
    KEEP_ALIVE = 1
    OUT_OF_ORDER = 2
    RETRANSMISSION = 3
    FAST_RETRANSMISSION = 4
    SPURIOUS_RETRANSMISSION = 5


@dataclass(frozen=True)
class SegmentKinds:
    """Kinds of every packet that a stream sent.

    ``kind`` is a ``SegmentKind``. ``is_duplicate_ack``: it repeats the last acknowledgement without
    payload, with the same window. ``is_zero_window``: its sender has no room.
    """

    stream: Stream

    @cached_property
    def kind(self) -> Int64s:
        """A ``SegmentKind`` per packet."""
        stream, sent = self.stream, self.stream.sent
        other = _Before.of(stream)
        top, top_ns = _highest_before(stream)
        takes_room = sent.end > sent.begin
        keep_alive = _is_keep_alive(stream)
        stands_back = takes_room & (sent.begin < top)
        stands_back &= ~((sent.payload > 1) & (sent.begin == top - 1))
        spurious = (sent.payload > 0) & (sent.begin + sent.payload <= other.ack)
        fast = stands_back & (other.duplicates >= 2) & (other.ack == sent.begin)
        fast &= sent.t_ns - other.t_ns < _FAST_NS
        out_of_order = stands_back & (sent.t_ns - top_ns < _initial_rtt_ns(stream))
        out_of_order &= top != sent.end
        return np.select(
            [keep_alive, spurious, fast, out_of_order, stands_back],
            [
                SegmentKind.KEEP_ALIVE,
                SegmentKind.SPURIOUS_RETRANSMISSION,
                SegmentKind.FAST_RETRANSMISSION,
                SegmentKind.OUT_OF_ORDER,
                SegmentKind.RETRANSMISSION,
            ],
            SegmentKind.PLAIN,
        ).astype(np.int64)

    @property
    def is_retransmission(self) -> Bools:
        """Sent again, in whichever way."""
        return np.greater_equal(self.kind, SegmentKind.RETRANSMISSION)

    @property
    def is_out_of_order(self) -> Bools:
        """Overtaken by a later one."""
        return np.equal(self.kind, SegmentKind.OUT_OF_ORDER)

    @cached_property
    def is_duplicate_ack(self) -> Bools:
        """Duplicate acknowledgements, but for answers to keep-alive probes."""
        return _duplicate_acks(self.stream)

    @cached_property
    def is_zero_window(self) -> Bools:
        """Segments that close the window."""
        sent = self.stream.sent
        closed: Bools = (sent.window == 0) & ((sent.flags & (SYN | FIN | RST)) == 0)
        return closed


@dataclass(frozen=True)
class _Before:
    """Last packet of the other direction when each packet was sent; -1 for none yet."""

    ack: Int64s
    t_ns: Int64s
    duplicates: Int64s

    @classmethod
    def of(cls, stream: Stream) -> "_Before":
        returned = stream.returned
        reverse = stream.mirrored
        last = np.searchsorted(returned.row, stream.sent.row)
        return cls(
            ack=_with_first(returned.ack, -1)[last],
            t_ns=_with_first(returned.t_ns, 0)[last],
            duplicates=_with_first(_counted(_duplicate_acks(reverse), returned.ack), 0)[last],
        )


def _duplicate_acks(stream: Stream) -> Bools:
    sent = stream.sent
    if not len(sent):
        return np.zeros(0, np.bool_)
    top, _ = _highest_before(stream)
    again = np.zeros(len(sent), np.bool_)
    again[1:] = (np.diff(sent.ack) == 0) & (np.diff(sent.window) == 0)
    plain = (sent.payload == 0) & ((sent.flags & (SYN | FIN | RST)) == 0)
    probed = _with_first(_is_keep_alive(stream.mirrored), 0)
    answers = probed[np.searchsorted(stream.returned.row, sent.row)]
    duplicate: Bools = again & plain & (sent.window > 0) & (sent.begin == top) & ~answers
    return duplicate


def _counted(duplicate: Bools, ack: Int64s) -> Int64s:
    """Duplicates so far of the acknowledgement that each packet carries."""
    total = np.cumsum(duplicate, dtype=np.int64)
    if not len(ack):
        return total
    changed = np.diff(ack, prepend=ack[0] - 1) != 0
    at_change = np.maximum.accumulate(np.where(changed, np.arange(len(ack)), 0))
    counted: Int64s = total - (total - duplicate)[at_change]
    return counted


def _is_keep_alive(stream: Stream) -> Bools:
    """At most one byte, the last one before what would come next."""
    sent = stream.sent
    top, _ = _highest_before(stream)
    keep_alive: Bools = (sent.payload <= 1) & (sent.begin == top - 1)
    keep_alive &= (sent.flags & (SYN | FIN | RST)) == 0
    return keep_alive


def _highest_before(stream: Stream) -> tuple[Int64s, Int64s]:
    """The highest offset sent before each packet, and when it was; far below all before any."""
    sent = stream.sent
    if not len(sent):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    closed = _with_first(np.equal(stream.returned.window, 0), 0)
    probes = (sent.payload == 1) & closed[np.searchsorted(stream.returned.row, sent.row)]
    nothing = np.iinfo(np.int64).min // 2
    end = np.where(probes, nothing, sent.end)
    top = np.maximum.accumulate(end)
    rises = np.diff(top, prepend=nothing) > 0
    at = np.maximum.accumulate(np.where(rises, np.arange(len(end)), 0))
    return _with_first(top, nothing)[:-1], _with_first(sent.t_ns[at], 0)[:-1]


def _initial_rtt_ns(stream: Stream) -> int:
    """From the last SYN to the first ACK without SYN of its sender, as one capture saw them."""
    for one in (stream.sent, stream.returned):
        opening = one.t_ns[(one.flags & (SYN | ACK)) == SYN]
        answers = one.t_ns[(one.flags & (SYN | ACK)) == ACK]
        if len(opening) and len(answers) and stream.syn_ack_ns != NEVER:
            return int(answers[0] - opening[-1])
    return _UNKNOWN_RTT_NS


def _with_first(values: npt.NDArray[ScalarT], value: int) -> npt.NDArray[ScalarT]:
    return np.concatenate([np.array([value], values.dtype), values])
