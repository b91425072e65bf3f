"""Measurements of one profile's link on the virtual clock, each made once.

There iperf3 is of no use: its account has a frame more or less, its TCP a short segment now and
then, whose headers are more than the tolerance, and between datagrams it spins, for which a clock
pays that stands still while anybody computes. A process that floods a line keeps up with it there,
however fast it is:

* **Round trip**: ping on the idle link; ping prints its shortest to a microsecond.
* **Loss**: datagrams at part of the line rate, both directions at once, counted as the probe does.
* **Rate**: datagrams above the line rate keep the queue full; tcpdump stamps what comes out
  (:mod:`topologies.fidelity.probes.line_rate`). Loss comes before the queue and has no part in it.
* **Queue**: ping through a direction flooded like that, less the idle round trip; the median. What
  is let into the queue of a lossy link is reckoned with its mean loss, so that chance makes the
  queue fuller or emptier, and the longer the flood the more: the tolerance has room for that.
"""

import math
import time

from stage_node.records.line.transfer_time import serialisation_ms
from topologies.errors import EmulationError
from topologies.fidelity.bench import (
    LOSS_DATAGRAMS,
    LOSS_LINE_SHARE,
    NO_LOSS_DATAGRAMS,
    WAYS,
    Bench,
)
from topologies.fidelity.claims import LossClaim, RttClaim, SaturationClaim, Way
from topologies.fidelity.probes.datagram_loss import DATAGRAM_FRAME_BYTES, measure_losses
from topologies.fidelity.probes.echo import ECHO_FRAME_BYTES
from topologies.fidelity.probes.flood import flooding
from topologies.fidelity.probes.line_rate import parse_datagrams, payload_mbit, stamped
from topologies.fidelity.probes.link_ends import vantages

RATE_FRAMES = 2000
PINGS = 20
PING_SPACING_S = 0.002
PINGS_SHARE = 0.2  # of the line
ANSWER_S = 1.0
DRAIN = 2.0  # times a full queue, until nothing is left of an earlier flood


class VirtualBench(Bench):
    """A running network and the profile that its one link is held against."""

    def rate(self, way: Way) -> SaturationClaim:
        """Payload rate of one direction that is kept full."""
        course = self._course(way)
        rate_mbit = course.one_way.rate_mbit
        sender, receiver = vantages(self._net, self._link, WAYS[way])
        ends = self._net.spec.ends[self._link.name]
        interface = (ends.b if WAYS[way] == "a_to_b" else ends.a).interface
        log = self._logs / f"rate-{way}.txt"
        frames = course.fill_frames + RATE_FRAMES
        lasts_s = frames * serialisation_ms(course.frame_bytes, rate_mbit) / 1e3
        with (
            stamped(receiver.pid, interface, frames, log) as tcpdump,
            flooding(sender, receiver, course.payload_bytes, course.flood_per_s),
        ):
            tcpdump.wait(2 * lasts_s + course.rtt_ms / 1e3 + ANSWER_S)
        return SaturationClaim(
            what="rate",
            way=way,
            tool="UDP",
            configured=rate_mbit,
            expected=rate_mbit * course.payload_bytes / course.frame_bytes,
            tolerance_share=self._tolerances.rate_share,
            needed_mbit=rate_mbit,
            attempts=(payload_mbit(parse_datagrams(log.read_text())[course.fill_frames :]),),
        )

    def queue(self, way: Way, idle: RttClaim, carried_mbit: float | None = None) -> SaturationClaim:
        """The delay that a direction kept full adds to ``idle``."""
        course = self._course(way)
        ping_ms = serialisation_ms(ECHO_FRAME_BYTES, course.one_way.rate_mbit)
        spacing_s = max(PING_SPACING_S, ping_ms / PINGS_SHARE / 1e3)
        ends = vantages(self._net, self._link, WAYS[way])
        time.sleep(DRAIN * course.queue_ms / 1e3 + course.rtt_ms / 1e3)
        with flooding(*ends, course.payload_bytes, course.flood_per_s):
            time.sleep(course.flood_fill_s)
            pings = self._ping(way, PINGS, spacing_s)
        if not pings.rtts_ms:
            raise EmulationError(f"ping: none of {pings.sent} came back from the saturated link")
        flooded_s = course.flood_fill_s + PINGS * spacing_s
        loaded_ms = sorted(pings.rtts_ms)[math.ceil(len(pings.rtts_ms) / 2) - 1]
        return SaturationClaim(
            what="queue",
            way=way,
            tool="UDP",
            configured=course.buffer_bytes,
            expected=course.queue_ms,
            tolerance_share=self._tolerances.queue_share + course.queue_chance_share(flooded_s),
            needed_mbit=course.one_way.rate_mbit,
            attempts=(loaded_ms - (idle.measured_ms or idle.expected_ms),),
        )

    def _loss(self, way: Way) -> LossClaim:
        one_way = self._course(way).one_way
        frame_s = serialisation_ms(DATAGRAM_FRAME_BYTES, one_way.rate_mbit) / 1e3
        losses = measure_losses(
            *vantages(self._net, self._link, WAYS[way]),
            count=LOSS_DATAGRAMS if one_way.loss_percent else NO_LOSS_DATAGRAMS,
            spacing_s=frame_s / LOSS_LINE_SHARE,
            timeout_s=(one_way.delay_ms + one_way.jitter_ms) / 1e3 + frame_s + ANSWER_S,
        )
        return LossClaim(
            way=way, configured_percent=one_way.loss_percent, sent=losses.sent, lost=losses.lost
        )
