"""How long what takes when a direction of a link is measured, and what floods it; pure.

Everything follows from the profile and the clock. On the real clock a process has to keep up with
the line, and time is dear. On the virtual clock it always keeps up and an idle line costs nothing:
datagrams flood every line, one by one, and a rate is measured over so many frames that the one at
the end, which is in the measured time or not, is far below the tolerance.
"""

import math
from dataclasses import dataclass

from topologies.fidelity import ClockKind
from topologies.goodput import window_bytes
from topologies.profiles import DirectionProfile
from topologies.shaping import FRAME_BYTES, SEGMENT_BYTES, serialisation_ms

UDP_HEADERS_BYTES = 42  # Ethernet, IPv4, UDP
FLOOD_FACTOR = 1.5  # times the line rate
TCP_FLOWS = 16
SLOW_START_ROUNDS = 12
WITHHELD_FRAMES = 4  # not yet acknowledged though no longer on the way: RFC 1122, delayed ACK
HANDSHAKE_ROUNDS = 10  # until iperf3's data flows


@dataclass(frozen=True)
class Effort:
    """What a figure may cost.

    A rate takes ``rate_frames`` frames, but no less than ``rate_s`` and no more than ``rate_s_max``.
    Datagrams flood lines up to ``flood_mbit``, ``datagrams_per_buffer`` of them in a full queue, so
    that it is full in fine steps; ``-P`` TCP connections flood faster ones. A full queue is seen by
    ``pings``, at least ``ping_spacing_s`` apart, and by fewer where they would take longer than
    ``pings_s``. Loss is counted for no longer than ``loss_s``.
    """

    rate_frames: int
    rate_s: float
    rate_s_max: float
    flood_mbit: float
    datagrams_per_buffer: int
    pings: int
    ping_spacing_s: float
    pings_s: float
    loss_s: float
    pacing: bool


EFFORTS: dict[ClockKind, Effort] = {
    "real": Effort(
        rate_frames=1000,  # one of which is 0.1 %
        rate_s=8.0,
        rate_s_max=60.0,
        flood_mbit=20.0,
        datagrams_per_buffer=40,
        pings=160,
        ping_spacing_s=0.05,
        pings_s=25.0,
        loss_s=60.0,
        pacing=False,
    ),
    "virtual": Effort(
        rate_frames=50_000,  # one of which is 0.002 %
        rate_s=1.0,
        rate_s_max=math.inf,
        flood_mbit=math.inf,
        datagrams_per_buffer=80,
        pings=40,
        ping_spacing_s=0.01,
        pings_s=25.0,
        loss_s=600.0,
        pacing=True,
    ),
}


@dataclass(frozen=True)
class Course:
    """The course of measurements of one direction."""

    one_way: DirectionProfile
    rtt_ms: float
    buffer_bytes: int
    effort: Effort

    @property
    def floods_by_udp(self) -> bool:
        """A process can send datagrams one by one faster than the line."""
        return self.one_way.rate_mbit <= self.effort.flood_mbit

    @property
    def payload_bytes(self) -> int:
        """Of a flooding datagram."""
        frame = min(FRAME_BYTES, self.buffer_bytes // self.effort.datagrams_per_buffer)
        return frame - UDP_HEADERS_BYTES

    @property
    def frame_bytes(self) -> int:
        """Of a flooding datagram on the wire."""
        return self.payload_bytes + UDP_HEADERS_BYTES

    @property
    def queue_ms(self) -> float:
        """The delay of a full queue."""
        return self.buffer_bytes * 8 / (self.one_way.rate_mbit * 1e3)

    @property
    def window_bytes(self) -> int:
        """TCP's window, with which the line never stands still and its queue never overflows."""
        rate_mbit = self.one_way.rate_mbit
        under_way = math.ceil(self.rtt_ms / serialisation_ms(rate_mbit, FRAME_BYTES))
        return max(
            window_bytes(rate_mbit, self.rtt_ms, self.buffer_bytes),
            (under_way + WITHHELD_FRAMES) * SEGMENT_BYTES,
        )

    @property
    def handshake_s(self) -> float:
        """Until iperf3's data flows."""
        return 0.5 + HANDSHAKE_ROUNDS * self.rtt_ms / 1e3

    @property
    def slow_start_s(self) -> int:
        """Until TCP has filled line and queue."""
        return math.ceil(1 + SLOW_START_ROUNDS * (self.rtt_ms + self.queue_ms) / 1e3)

    @property
    def fill_s(self) -> int:
        """Until a flood has filled the queue."""
        if not self.floods_by_udp:
            return self.slow_start_s
        return math.ceil(1 + self.queue_ms / 1e3 / (FLOOD_FACTOR - 1))

    def rate_s(self, frame_bytes: int) -> int:
        """In which enough frames pass."""
        frames_s = self.effort.rate_frames * frame_bytes * 8 / (self.one_way.rate_mbit * 1e6)
        return math.ceil(min(max(self.effort.rate_s, frames_s), self.effort.rate_s_max))

    @property
    def flood(self) -> tuple[str, ...]:
        """iperf3's arguments."""
        if not self.floods_by_udp:
            return ("-P", str(TCP_FLOWS), "-C", "cubic")
        bit = FLOOD_FACTOR * self.one_way.rate_mbit * 1e6
        return ("-u", "-b", f"{bit:.0f}", "-l", str(self.payload_bytes), *self._pacing)

    @property
    def _pacing(self) -> tuple[str, ...]:
        """Sends datagrams one by one, not in bursts of a millisecond: a look at the clock in the
        time of each."""
        if not self.effort.pacing:
            return ()
        datagram_us = self.frame_bytes * 8 / (FLOOD_FACTOR * self.one_way.rate_mbit)
        return ("--pacing-timer", str(min(1000, max(1, int(datagram_us / 2)))))
