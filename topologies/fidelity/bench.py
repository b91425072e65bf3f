"""Measurements of one profile's link with iperf3 and ping, on the real clock.

* **Round trip**: ping on the idle link.
* **Loss**: the smallest datagrams at part of the line rate, both directions at once.
* **Rate**: one TCP connection whose window fills the line and part of the queue, by the receiver's
  account once slow start is over. Where loss or jitter spoil TCP, datagrams above the line rate, of
  which the line passes on what it can; the tolerance then has room for the chance in the loss.
* **Queue**: ping through a saturated direction, less the idle round trip. Datagrams above the line
  rate keep the queue full: the median of the pings. Lines too fast for a process that sends one
  at a time are saturated by many TCP connections without a limit; some of them draw back at any
  time, and so the queue is a little less than full mostly: the delay that 15 % of the pings exceed.

A busy machine spoils single measurements, so each is made again, a few times, while it is outside
its tolerance. The last one counts, never the best, and all are reported.
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

from stage_node.records.line.ethernet import DATAGRAM_HEADERS_BYTES, FRAME_BYTES
from stage_node.records.line.transfer_time import ideal_goodput_mbit, serialisation_ms
from stage_node.records.vocabulary import DIRECTIONS, ClockKind, Direction
from topologies.emulation.network import EmulatedNetwork
from topologies.emulation.sysctls import host_sysctls, write_sysctls
from topologies.errors import EmulationError
from topologies.fidelity.claims import LossClaim, RttClaim, SaturationClaim, Way
from topologies.fidelity.course import DATAGRAMS_PER_BUFFER, SIGMAS, Course
from topologies.fidelity.probes.echo import ECHO_FRAME_BYTES
from topologies.fidelity.probes.independent_tools import Iperf3Flow, Pings, iperf3, ping
from topologies.fidelity.probes.link_ends import vantages
from topologies.fidelity.tolerances import EXAMINATION
from topologies.links.profiles import DirectionProfile, LinkProfile
from topologies.networks.receive_buffer import receive_buffer_bytes
from topologies.networks.shaping import ideal_rtt_ms, shape_of
from topologies.networks.spec import direction_of

WAYS: dict[Way, Direction] = {"down": "b_to_a", "up": "a_to_b"}
IPERF3_TRIES = 3  # the first datagram, which iperf3 does not repeat, may be lost

PINGS = 20
PING_SPACING_S = 0.05
LOADED_PINGS = 160
LOADED_PINGS_S = 25.0  # of fewer where they would take more
LOADED_PINGS_SHARE = 0.05  # of the line
EXCEEDED_BY_UDP, EXCEEDED_BY_TCP = 0.5, 0.15  # share of the pings above the figure

LOSS_PAYLOAD_BYTES = 16  # the least that iperf3 sends
LOSS_LINE_SHARE = 0.7
LOSS_PER_S = 300.0
LOSS_DATAGRAMS = 5000  # where loss is configured; fewer where that would take longer than
LOSS_S = 60.0
NO_LOSS_DATAGRAMS = 1000

SLACK_S = 30.0
FREE_MBIT, FREE_S = 10_000.0, 4.0


class Bench:
    """A running network and the profile that its one link is held against, on the real clock.

    Every public method measures one claim.
    """

    def __init__(
        self, net: EmulatedNetwork, profile: LinkProfile, logs: Path, clock: ClockKind
    ) -> None:
        self._net = net
        self._profile = profile
        self._logs = logs
        self._tolerances = EXAMINATION[clock]
        self._datagrams_per_buffer = DATAGRAMS_PER_BUFFER[clock]
        (self._link,) = net.spec.links

    def rtt(self) -> RttClaim:
        """The shortest of more pings is still the shortest, so rounds add up."""
        profile = self._profile
        ways = (profile.down, profile.up)
        slowest_ms = max(serialisation_ms(ECHO_FRAME_BYTES, one.rate_mbit) for one in ways)
        expected_ms, allowed = ideal_rtt_ms(profile, ECHO_FRAME_BYTES), self._tolerances
        claim = RttClaim(
            sent=0,
            received=0,
            expected_ms=expected_ms,
            measured_ms=None,
            tolerance_ms=allowed.rtt_ms + allowed.rtt_share * expected_ms,
            early_ms=sum(one.jitter_ms for one in ways),
        )
        for _ in range(allowed.attempts):
            pings = self._ping("up", PINGS, max(PING_SPACING_S, 2 * slowest_ms / 1e3))
            shortest = [ms for ms in (claim.measured_ms, pings.shortest_ms) if ms is not None]
            claim = claim.model_copy(
                update={
                    "sent": claim.sent + pings.sent,
                    "received": claim.received + pings.received,
                    "measured_ms": min(shortest, default=None),
                }
            )
            if claim.verdict == "pass":
                break
        return claim

    def losses(self) -> tuple[LossClaim, ...]:
        """Both directions; another batch, where one may be made, if the first was unlikely."""
        with ThreadPoolExecutor(max_workers=len(WAYS)) as pool:
            return tuple(pool.map(self._loss, WAYS))

    def rate(self, way: Way) -> SaturationClaim:
        """Goodput of one direction."""
        course = self._course(way)
        rate_mbit = course.one_way.rate_mbit
        by_tcp = self._profile.down.is_exact and self._profile.up.is_exact
        if by_tcp:
            measure, expected, chance = self._tcp_mbit, ideal_goodput_mbit(rate_mbit), 0.0
        else:
            lost = course.one_way.loss_percent / 100
            frame_s = serialisation_ms(course.frame_bytes, rate_mbit) / 1e3
            frames = course.rate_s(course.frame_bytes) / frame_s
            measure = self._udp_mbit
            expected = rate_mbit * course.payload_bytes / course.frame_bytes
            chance = SIGMAS * math.sqrt(lost / (1 - lost) / frames)

        def claim(attempts: tuple[float, ...], carried_mbit: float | None) -> SaturationClaim:
            return SaturationClaim(
                what="rate",
                way=way,
                tool="TCP" if by_tcp else "UDP",
                configured=rate_mbit,
                expected=expected,
                tolerance_share=self._tolerances.rate_share + chance,
                needed_mbit=ideal_goodput_mbit(rate_mbit),
                attempts=attempts,
                carried_mbit=carried_mbit,
            )

        return self._attempted(claim, lambda: measure(way), self._tolerances.attempts)

    def queue(self, way: Way, idle: RttClaim, carried_mbit: float | None = None) -> SaturationClaim:
        """The delay that a saturated direction adds to ``idle``; ``carried_mbit`` if known."""
        course = self._course(way)
        idle_ms = idle.measured_ms or idle.expected_ms

        def claim(attempts: tuple[float, ...], carried_mbit: float | None) -> SaturationClaim:
            return SaturationClaim(
                what="queue",
                way=way,
                tool="UDP" if course.floods_by_udp else "TCP",
                configured=course.buffer_bytes,
                expected=course.queue_ms,
                tolerance_share=self._tolerances.queue_share,
                needed_mbit=ideal_goodput_mbit(course.one_way.rate_mbit),
                attempts=attempts,
                carried_mbit=carried_mbit,
            )

        return self._attempted(
            claim,
            lambda: self._loaded_ms(way) - idle_ms,
            self._tolerances.queue_attempts,
            carried_mbit,
        )

    def _attempted(
        self,
        claim: Callable[[tuple[float, ...], float | None], SaturationClaim],
        measure: Callable[[], float],
        most: int,
        carried_mbit: float | None = None,
    ) -> SaturationClaim:
        made = claim((measure(),), carried_mbit)
        while made.verdict == "fail" and len(made.attempts) < most:
            if made.carried_mbit is None:
                known = made.attempts if made.what == "rate" else ()
                made = claim(made.attempts, max(self._carried_mbit, *known, 0.0))
            if made.verdict == "fail":
                made = claim((*made.attempts, measure()), made.carried_mbit)
        return made

    def _loss(self, way: Way) -> LossClaim:
        one_way = self._course(way).one_way
        frame_bytes = LOSS_PAYLOAD_BYTES + DATAGRAM_HEADERS_BYTES
        per_s = min(LOSS_PER_S, LOSS_LINE_SHARE * one_way.rate_mbit * 1e6 / 8 / frame_bytes)
        wanted = LOSS_DATAGRAMS if one_way.loss_percent else NO_LOSS_DATAGRAMS
        count = min(wanted, round(LOSS_S * per_s))
        bit = per_s * LOSS_PAYLOAD_BYTES * 8
        size = ("-l", str(LOSS_PAYLOAD_BYTES), "-k", str(count))
        claim = LossClaim(
            way=way, configured_percent=one_way.loss_percent, sent=0, lost=0, batches=0
        )
        while claim.verdict == "fail" and claim.batches < self._tolerances.loss_batches:
            flow = self._iperf3("loss", way, ("-u", "-b", f"{bit:.0f}", *size), count / per_s)
            claim = claim.model_copy(
                update={
                    "sent": claim.sent + flow.datagrams,
                    "lost": claim.lost + flow.lost,
                    "batches": claim.batches + 1,
                }
            )
        return claim

    def _tcp_mbit(self, way: Way) -> float:
        course = self._course(way)
        omit_s, rate_s = course.slow_start_s, course.rate_s(FRAME_BYTES)
        self._set_window(course.window_bytes)
        arguments = ("-C", "reno", "-O", str(omit_s), "-t", str(rate_s))
        return self._iperf3("rate", way, arguments, omit_s + rate_s).mbit

    def _udp_mbit(self, way: Way) -> float:
        course = self._course(way)
        omit_s, rate_s = course.fill_s, course.rate_s(course.frame_bytes)
        arguments = ("-O", str(omit_s), "-t", str(rate_s))
        return self._flooded(way, "rate", arguments, omit_s + rate_s).mbit

    def _flooded(
        self, way: Way, name: str, arguments: tuple[str, ...], lasts_s: float
    ) -> Iperf3Flow:
        self._set_window(None)
        return self._iperf3(name, way, (*self._course(way).flood, *arguments), lasts_s)

    def _loaded_ms(self, way: Way) -> float:
        """The round trip while the direction is saturated; see the module."""
        course = self._course(way)
        ping_ms = serialisation_ms(ECHO_FRAME_BYTES, course.one_way.rate_mbit)
        spacing_s = max(PING_SPACING_S, ping_ms / LOADED_PINGS_SHARE / 1e3)
        count = round(min(LOADED_PINGS, LOADED_PINGS_S / spacing_s))
        lasts_s = math.ceil(course.fill_s + count * spacing_s + course.handshake_s + 1)
        with ThreadPoolExecutor(max_workers=1) as pool:
            flood = pool.submit(self._flooded, way, "queue", ("-t", str(lasts_s)), lasts_s)
            time.sleep(course.handshake_s + course.fill_s)
            pings = self._ping(way, count, spacing_s)
            flood.result()
        if not pings.rtts_ms:
            raise EmulationError(f"ping: none of {pings.sent} came back from the saturated link")
        exceeded = EXCEEDED_BY_UDP if course.floods_by_udp else EXCEEDED_BY_TCP
        return sorted(pings.rtts_ms)[math.ceil((1 - exceeded) * len(pings.rtts_ms)) - 1]

    @cached_property
    def _carried_mbit(self) -> float:
        """Measure this host's rate over the same wire without a limit, at this moment, Mbit/s."""
        shaped = self._link.profile
        assert shaped is not None, "a network to examine has no plain cable"
        free = shaped.model_copy(
            update=dict.fromkeys(("down", "up"), DirectionProfile(rate_mbit=FREE_MBIT))
        )
        for direction in DIRECTIONS:
            self._net.apply(self._link.name, direction, free)
        self._set_window(None)
        try:
            return self._iperf3("carried", "down", ("-t", f"{FREE_S:.0f}"), FREE_S).mbit
        finally:
            for direction in DIRECTIONS:
                self._net.apply(self._link.name, direction, shaped)

    def _iperf3(
        self, name: str, way: Way, arguments: tuple[str, ...], lasts_s: float
    ) -> Iperf3Flow:
        ends = vantages(self._net, self._link, WAYS[way])
        course = self._course(way)
        limit_s = course.handshake_s + lasts_s + course.queue_ms / 1e3 + SLACK_S
        for left in reversed(range(IPERF3_TRIES)):
            number = len(list(self._logs.glob(f"{name}-{way}-*.json")))
            try:
                log = self._logs / f"{name}-{way}-{number}.json"
                return iperf3(*ends, arguments, limit_s, log)
            except EmulationError:
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    def _ping(self, way: Way, count: int, spacing_s: float) -> Pings:
        course = self._course(way)
        wait_s = 1 + (course.rtt_ms + course.queue_ms) / 1e3
        return ping(*vantages(self._net, self._link, WAYS[way]), count, spacing_s, wait_s)

    def _set_window(self, window: int | None) -> None:
        """TCP's window of connections to come, in bytes; without one the network's own."""
        room = host_sysctls(self._net.plan)["ipv4/tcp_rmem"]
        if window is not None:
            room = f"4096 {receive_buffer_bytes(window)} {receive_buffer_bytes(window)}"
        settings = {"ipv4/tcp_rmem": room}
        for port in self._net.spec.ends[self._link.name]:
            write_sysctls(self._net.host_pid(port.node), settings)

    def _course(self, way: Way) -> Course:
        return Course(
            one_way=direction_of(self._profile, WAYS[way]),
            rtt_ms=self._profile.rtt_ms,
            buffer_bytes=shape_of(self._profile, WAYS[way]).buffer_bytes,
            datagrams_per_buffer=self._datagrams_per_buffer,
        )
