"""The course of measuring a direction of a link: durations, and the flood; pure.

Everything follows from the profile and the clock.
"""

import math
from dataclasses import dataclass

from stage_node.records.line.ethernet import DATAGRAM_HEADERS_BYTES, FRAME_BYTES, SEGMENT_BYTES
from stage_node.records.line.transfer_time import serialisation_ms
from stage_node.records.vocabulary import ClockKind
from topologies.fidelity.probes.goodput import window_bytes
from topologies.links.profiles import DirectionProfile

FLOOD_FACTOR = 1.5  # times the line rate
FLOOD_MBIT = 20.0  # line rate up to which iperf3's datagrams flood
DATAGRAMS_PER_BUFFER: dict[ClockKind, int] = {"real": 40, "virtual": 80}
"""In a full queue, so that it is full in fine steps: a step is what its delay varies by."""

TCP_FLOWS = 16
RATE_S, RATE_S_MAX = 8.0, 60.0
RATE_FRAMES = 1000
SLOW_START_ROUNDS = 12
WITHHELD_FRAMES = 4  # not yet acknowledged though no longer on the way: RFC 1122, delayed ACK
SIGMAS = 2.576  # 99 % of the normal distribution
HANDSHAKE_ROUNDS = 10  # until iperf3's data flows


@dataclass(frozen=True)
class Course:
    """The course of measurements of one direction."""

    one_way: DirectionProfile
    rtt_ms: float
    buffer_bytes: int
    datagrams_per_buffer: int

    @property
    def floods_by_udp(self) -> bool:
        """iperf3 can send datagrams one by one faster than the line on the real clock."""
        return self.one_way.rate_mbit <= FLOOD_MBIT

    @property
    def payload_bytes(self) -> int:
        """Payload of a flooding datagram, bytes."""
        frame = min(FRAME_BYTES, self.buffer_bytes // self.datagrams_per_buffer)
        return frame - DATAGRAM_HEADERS_BYTES

    @property
    def frame_bytes(self) -> int:
        """Size of a flooding datagram on the wire, bytes."""
        return self.payload_bytes + DATAGRAM_HEADERS_BYTES

    @property
    def queue_ms(self) -> float:
        """The delay of a full queue."""
        return serialisation_ms(self.buffer_bytes, self.one_way.rate_mbit)

    @property
    def window_bytes(self) -> int:
        """TCP's window, with which the line never stands still and its queue never overflows."""
        rate_mbit = self.one_way.rate_mbit
        under_way = math.ceil(self.rtt_ms / serialisation_ms(FRAME_BYTES, rate_mbit))
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
    def flood_per_s(self) -> float:
        """Datagrams a second of a flood."""
        return FLOOD_FACTOR * self.one_way.rate_mbit * 1e6 / 8 / self.frame_bytes

    @property
    def flood_fill_s(self) -> float:
        """Until datagrams have filled the queue."""
        return self.queue_ms / 1e3 / (FLOOD_FACTOR - 1)

    @property
    def fill_frames(self) -> int:
        """Frames that the line has passed on when datagrams have filled the queue."""
        passed_s = self.flood_fill_s
        return math.ceil(passed_s * self.one_way.rate_mbit * 1e6 / 8 / self.frame_bytes)

    def queue_chance_share(self, flooded_s: float) -> float:
        """The share of a full queue by which chance in the loss has made it longer or shorter after
        ``flooded_s`` seconds, in 99 % of cases."""
        passed_s = flooded_s + self.queue_ms / 1e3
        frames = passed_s * self.one_way.rate_mbit * 1e6 / 8 / self.frame_bytes
        deviation = math.sqrt(frames * self.one_way.loss_percent / 100)
        return SIGMAS * deviation * self.frame_bytes / self.buffer_bytes

    @property
    def fill_s(self) -> int:
        """Until iperf3's flood has filled the queue."""
        return math.ceil(1 + self.flood_fill_s) if self.floods_by_udp else self.slow_start_s

    def rate_s(self, frame_bytes: int) -> int:
        """In which a thousand frames pass, so that one is 0.1 %; fewer on the slowest."""
        frames_s = RATE_FRAMES * frame_bytes * 8 / (self.one_way.rate_mbit * 1e6)
        return math.ceil(min(max(RATE_S, frames_s), RATE_S_MAX))

    @property
    def flood(self) -> tuple[str, ...]:
        """iperf3's arguments."""
        if not self.floods_by_udp:
            return ("-P", str(TCP_FLOWS), "-C", "cubic")
        bit = FLOOD_FACTOR * self.one_way.rate_mbit * 1e6
        return ("-u", "-b", f"{bit:.0f}", "-l", str(self.payload_bytes))
