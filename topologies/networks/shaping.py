"""The ``tc`` lines that make a profile real; pure functions from numbers to text.

A shaped link is a *wire*: two interfaces in the namespace ``wires``, each the peer of one end of
the link. Whatever enters one is redirected to the egress of the other, so that each direction has

1. a meter at the ingress (``police``): a token bucket whose rate is the line rate and whose depth
   is the buffer. It drops exactly what a droptail queue of that many bytes would drop;
2. one netem qdisc at the egress with the rate and the delay: netem computes each frame's time of
   departure, so late timers lose no capacity.

Loss comes before the line and its buffer, as in netem and in Mininet's links: the line is busy with
what survives. The meter, which sees the frames before netem loses some of them, is widened by their
share, or a full queue would run empty by the loss times the rate.

netem's own ``limit`` cannot be the buffer: it counts packets and those still being delayed too,
so that a limit sized for full frames drops the acknowledgements of an asymmetric link. Here it
is only a bound that a conforming sender cannot reach.

A direction that *varies* (its profile has a trace) is made of other parts, for netem fixes the
departure of a frame when it is queued, and a meter that is changed forgets what it has let in:

1. one netem qdisc with the delay alone, its rate so high that it only keeps frames in order;
2. as its child, an HTB class whose rate may be changed at any time and then holds for the frames
   that wait already, over a droptail queue counted in bytes (``bfifo``) that is the buffer.

A late timer loses no capacity as long as it is not later than the ``burst``, which is also how far
a line that was idle runs ahead.

The buffer is ``buffer_bdp`` times rate times round trip, but at least 50 ms of line rate up to 64
full frames (a link's own round trip says little where it is one hop of a longer path, and even
small routers hold as many), and never less than an initial TCP window (RFC 6928: ten segments).
Rates are passed in whole bit/s and times in microseconds, which ``tc``
keeps to within one of its ticks of 64 ns.
"""

import math
from dataclasses import dataclass

from stage_node.records.line.ethernet import (
    BARE_SEGMENT_FRAME_BYTES,
    ETHERNET_HEADER_BYTES,
    FRAME_BYTES,
    INITIAL_WINDOW_SEGMENTS,
)
from stage_node.records.line.transfer_time import bytes_per_ms, serialisation_ms
from stage_node.records.vocabulary import Direction
from topologies.links.profiles import DirectionProfile, LinkProfile
from topologies.networks.spec import Shaper, direction_of

SMALL_ROUTER_FRAMES = 64
SMALL_ROUTER_MS = 50.0
BURST_MS = 6.0
VARYING_LIMIT_PACKETS = 20_000  # what is being delayed, whatever the rates were; never reached
IN_ORDER_RATE = "100gbit"
MININET_QUEUE_PACKETS = 1000  # netem's default, which Mininet leaves alone


@dataclass(frozen=True)
class Shape:
    """One direction of a link in the units of the kernel."""

    rate_bit: int  # per second
    delay_us: int
    jitter_us: int
    loss_percent: float
    buffer_bytes: int
    limit_packets: int
    varies: bool = False


@dataclass(frozen=True)
class Tap:
    """Interfaces of one direction of a wire in the namespace ``wires``.

    Frames enter at ``ingress`` and leave at ``egress`` (interface names); ``meter`` is the index
    of the direction's police action, unique in the namespace.
    """

    ingress: str
    egress: str
    meter: int


def shape_of(profile: LinkProfile, direction: Direction) -> Shape:
    """The kernel's figures for one direction; formulas in the module's text."""
    one_way: DirectionProfile = direction_of(profile, direction)
    line = bytes_per_ms(one_way.rate_mbit)
    buffer_bytes = math.ceil(
        max(
            one_way.buffer_bdp * line * profile.rtt_ms,
            min(SMALL_ROUTER_MS * line, SMALL_ROUTER_FRAMES * FRAME_BYTES),
            INITIAL_WINDOW_SEGMENTS * FRAME_BYTES,
        )
    )
    flying_bytes = line * (one_way.delay_ms + one_way.jitter_ms)
    limit_packets = math.ceil((flying_bytes + buffer_bytes) / BARE_SEGMENT_FRAME_BYTES) + 100
    return Shape(
        rate_bit=round(one_way.rate_mbit * 1e6),
        delay_us=round(one_way.delay_ms * 1e3),
        jitter_us=round(one_way.jitter_ms * 1e3),
        loss_percent=one_way.loss_percent,
        buffer_bytes=buffer_bytes,
        limit_packets=VARYING_LIMIT_PACKETS if one_way.trace else limit_packets,
        varies=one_way.trace is not None,
    )


def ideal_rtt_ms(profile: LinkProfile, frame_bytes: int) -> float:
    """Two delays and the serialisation of a frame each way, on an idle link, ms.

    A direction that varies lets a small frame pass an idle line at once: see the module's text.
    """
    return profile.rtt_ms + sum(
        serialisation_ms(frame_bytes, one_way.rate_mbit)
        for one_way in (profile.down, profile.up)
        if one_way.trace is None
    )


def wire_lines(tap: Tap, shape: Shape, shaper: Shaper) -> list[str]:
    """``tc -batch`` lines that create one direction; the ingress qdisc is :func:`ingress_line`."""
    redirect = f"action mirred egress redirect dev {tap.egress}"
    match = f"filter add dev {tap.ingress} parent ffff: matchall"
    if shaper == "tclink":
        return [f"{match} {redirect}", *_tclink_lines("add", tap, shape)]
    if shape.varies:
        return [
            f"{match} {redirect}",
            f"qdisc add dev {tap.egress} root handle 1: {_netem(shape)}",
            f"qdisc add dev {tap.egress} parent 1:1 handle 2: htb default 1",
            *_line_lines("add", tap, shape),
        ]
    return [
        f"actions add action {_meter(tap, shape)}",
        f"{match} action police index {tap.meter} {redirect}",
        f"qdisc add dev {tap.egress} root handle 1: {_netem(shape)}",
    ]


def ingress_line(interface: str) -> str:
    """The hook at which frames entering a wire are taken."""
    return f"qdisc add dev {interface} ingress"


def change_lines(tap: Tap, shape: Shape, shaper: Shaper) -> list[str]:
    """``tc -batch`` lines that change a living direction in place: no queued frame is lost."""
    if shaper == "tclink":
        return _tclink_lines("change", tap, shape)
    if shape.varies:
        return [
            f"qdisc change dev {tap.egress} root handle 1: {_netem(shape)}",
            *_line_lines("change", tap, shape),
        ]
    return [
        f"actions change action {_meter(tap, shape)}",
        f"qdisc change dev {tap.egress} root handle 1: {_netem(shape)}",
    ]


def _meter(tap: Tap, shape: Shape) -> str:
    # At ingress the kernel counts frames without their Ethernet header; `overhead` adds it.
    surviving = 1 - shape.loss_percent / 100
    return (
        f"police rate {round(shape.rate_bit / surviving)}bit "
        f"burst {round(shape.buffer_bytes / surviving)}b "
        f"overhead {ETHERNET_HEADER_BYTES} conform-exceed drop/pipe index {tap.meter}"
    )


def _netem(shape: Shape) -> str:
    parts = [f"netem limit {shape.limit_packets} delay {shape.delay_us}us"]
    if shape.jitter_us:
        parts.append(f"{shape.jitter_us}us")
    # Always said: a change that does not name the loss would keep the old one.
    rate = IN_ORDER_RATE if shape.varies else f"{shape.rate_bit}bit"
    parts.append(f"loss random {shape.loss_percent:.6f}% rate {rate}")
    return " ".join(parts)


def _line_lines(verb: str, tap: Tap, shape: Shape) -> list[str]:
    """The line of a direction that varies, and its buffer."""
    dev = f"dev {tap.egress}"
    burst_bytes = max(FRAME_BYTES, round(shape.rate_bit / 8e3 * BURST_MS))
    return [
        f"class {verb} {dev} parent 2: classid 2:1 htb rate {shape.rate_bit}bit "
        f"burst {burst_bytes}b cburst {burst_bytes}b quantum {FRAME_BYTES}",
        f"qdisc {verb} {dev} parent 2:1 handle 3: bfifo limit {shape.buffer_bytes}b",
    ]


def _tclink_lines(verb: str, tap: Tap, shape: Shape) -> list[str]:
    """HTB, then netem for the delay: the lines of ``mininet.link.TCIntf``."""
    dev = f"dev {tap.egress}"
    netem = [f"delay {shape.delay_us}us"]
    if shape.jitter_us:
        netem.append(f"{shape.jitter_us}us")
    netem.append(f"loss {shape.loss_percent:.5f}% limit {MININET_QUEUE_PACKETS}")
    root = [f"qdisc add {dev} root handle 5:0 htb default 1"] if verb == "add" else []
    return [
        *root,
        f"class {verb} {dev} parent 5:0 classid 5:1 htb rate {shape.rate_bit}bit burst 15k",
        f"qdisc {verb} {dev} parent 5:1 handle 10: netem {' '.join(netem)}",
    ]
