"""Parts of a frame's time on the wire, from captures at both ends of every link.

A frame that was handed to the sender, and whose turn has not come, waits. While it waits, the
slowest link of its path, the one of least capacity, is either busy, mostly with the frames before
it: **queueing**; or it has nothing to send, because TCP holds those back: **transport**. Busy time
is the service time of what then arrives behind that link, a propagation later.

``D``, from first byte out (sender's capture) to last byte delivered (receiver's capture), is taken
apart at the slowest link:

* *Before*: from the frame's first byte out to the departure of that packet of the frame which
  arrives first behind the slowest link. More than 0 only where packets were lost: **transport**.
* *There*: that packet's way to the end of the slowest link: its **propagation** and its own passage
  through each link (**serialisation**); what remains it waited in queues, or for a host that
  forwards (**queueing**).
* *Stream*: from that arrival until all bytes of the frame have arrived behind the slowest link. The
  service time of the frame's own packets is **serialisation**, that of other connections' packets
  in between **queueing**, that of this connection's other packets (what was sent again; later
  frames, while something lost is repaired) **transport**. Where the packets entered the link so
  late that an ideal queue would have run empty, TCP held the frame back (window, acknowledgements,
  repair): this idle time is **transport**. What the last of them was later than from an ideal queue
  that the first left when it did is **queueing** (jitter, the emulator's timers, a busy host); what
  it was sooner, because only the first had been late, is taken off it.
* *Beyond*: from there to the receiver: propagation, service time of the frame's last packet, and
  queueing on the links after the slowest.

Service, passage and propagation are defined in ``analysis.metrics.links.pace``. Idle time is of the
queue F(i) = max(F(i-1), a(i)) + s(i) (Lindley 1952) with the times a at which packets really
entered and their service times s. No part is less than 0: where a frame came sooner than capacity
and propagation allow, the parts are more than ``D``. How nearly they add up to it says whether
capacities, propagation and captures fit together.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.metrics.links.pace import Pace
from analysis.run.network import LinkDirection
from analysis.tcp.connections import CapturedStreams, TwoEnds
from analysis.tcp.streams import Int64s, Stream

WIRE_PARTS = ("serialisation", "queueing", "propagation", "transport")


@dataclass
class _Parts:
    """Parts of one frame's time, ns."""

    serialisation: float = 0.0
    queueing: float = 0.0
    propagation: float = 0.0
    transport: float = 0.0


@dataclass(frozen=True)
class _Way:
    """One connection's path, divided behind its slowest link."""

    ends: TwoEnds
    near: Stream  # as the capture behind the slowest link saw it
    left_ns: Int64s  # when each segment of ``near`` left the sender
    entered_ns: Int64s  # when it entered the slowest link
    until: tuple[Pace, ...]  # links up to the slowest, it included
    beyond: tuple[Pace, ...]

    @property
    def slowest(self) -> Pace:
        return self.until[-1]


def crossings(
    frames: pl.DataFrame, ends: TwoEnds, wire: CapturedStreams, paces: dict[LinkDirection, Pace]
) -> pl.DataFrame:
    """Parts in ns of every frame of one connection, one column for each of ``WIRE_PARTS``.

    ``frames`` has the columns of ``analysis.tcp.join``, and ``t_turn_ns``: the sender had sent the
    frame before. Null where a frame did not arrive whole, or the pace of a link is not known.
    """
    way = _way(frames, ends, wire, paces)
    spans = frames.select("first_byte", "end_byte", "t_first_out_ns", "t_delivered_ns").rows()
    waits = frames.select("t_queued_ns", "t_turn_ns", "t_begin_ns", "t_first_out_ns").rows()
    rows = []
    for span, (queued_ns, turn_ns, begin_ns, out_ns) in zip(spans, waits, strict=True):
        parts = _parts(way, *span) if way and None not in span else None
        if way and parts:
            _wait(parts, way, queued_ns, turn_ns)
            _wait(parts, way, begin_ns, out_ns)
        rows.append(parts)
    return pl.DataFrame(
        {part: [getattr(row, part) if row else None for row in rows] for part in WIRE_PARTS},
        schema=dict.fromkeys(WIRE_PARTS, pl.Float64),
    )


def _way(
    frames: pl.DataFrame, ends: TwoEnds, wire: CapturedStreams, paces: dict[LinkDirection, Pace]
) -> _Way | None:
    known = tuple(paces[step] for step in ends.path if step in paces)
    if len(known) < len(ends.path):
        return None
    index = int(np.argmax([float(np.median(pace.ns_per_byte)) for pace in known]))
    interface = known[index].step.receiver.interface
    near = wire.stream_at(interface, ends.flow, int(frames["t_end_ns"].max()))  # type: ignore[arg-type]
    if near is None or not len(near.t_ns):
        return None
    entry = wire.stream_at(known[index].step.sender.interface, ends.flow, int(near.t_ns[-1]))
    if not (near.anchored and entry and entry.anchored):
        return None
    left_ns, entered_ns = _departures(ends.sender, near), _departures(entry, near)
    return _Way(ends, near, left_ns, entered_ns, known[: index + 1], known[index + 1 :])


def _departures(before: Stream, behind: Stream) -> Int64s:
    """When each segment that arrived had left: the last time before that it was sent."""
    sent = pl.DataFrame({"begin": before.begin, "t_ns": before.t_ns, "left_ns": before.t_ns})
    came = pl.DataFrame({"begin": behind.begin, "t_ns": behind.t_ns})
    matched = came.join_asof(sent, on="t_ns", by="begin", check_sortedness=False)
    first_ns = pl.Series(before.time_sent(behind.begin))  # where it was cut otherwise
    return matched["left_ns"].fill_null(first_ns).to_numpy()


def _parts(way: _Way, first: int, end: int, out_ns: int, delivered_ns: int) -> _Parts | None:
    near, parts = way.near, _Parts()
    lo, hi = np.searchsorted(near.t_ns, [out_ns, delivered_ns], side="right")
    own = np.flatnonzero((near.begin[lo:hi] < end) & (near.end[lo:hi] > first)) + lo
    if not len(own):
        return None
    head, tail = own[0], own[-1]
    begin_ns, end_ns = int(near.t_ns[head]), int(near.time_delivered(np.array([end]))[0])
    left_ns = int(way.left_ns[head])
    parts.transport += max(left_ns - out_ns, 0)
    _leg(parts, way.until, int(near.wirelen[head]), left_ns, begin_ns)
    _stream(parts, way, own, begin_ns, end_ns)
    _leg(parts, way.beyond, int(near.wirelen[tail]), end_ns, delivered_ns)
    parts.queueing = max(parts.queueing, 0.0)
    return parts


def _wait(parts: _Parts, way: _Way, begin_ns: int, end_ns: int) -> None:
    """Waiting at the sender, from one moment to another."""
    times = np.array([begin_ns, end_ns])
    away_ns = np.sum([pace.propagation_at(times) for pace in way.until], axis=0)
    later = times + away_ns.astype(np.int64)
    busy_ns = float(np.diff(way.slowest.served_until(later))[0])
    wait_ns = float(end_ns - begin_ns)
    parts.queueing += min(busy_ns, wait_ns)
    parts.transport += max(wait_ns - busy_ns, 0.0)


def _leg(
    parts: _Parts, links: tuple[Pace, ...], wire_bytes: int, left_ns: int, came_ns: int
) -> None:
    """One packet's way over some links."""
    size, at = np.array([wire_bytes]), np.array([came_ns])
    service = sum(float(pace.passage_ns(size, at)[0]) for pace in links)
    propagation = sum(float(pace.propagation_at(at)[0]) for pace in links)
    parts.serialisation += service
    parts.propagation += propagation
    parts.queueing += came_ns - left_ns - service - propagation


def _stream(parts: _Parts, way: _Way, own: Int64s, begin_ns: int, end_ns: int) -> None:
    """The slowest link from the frame's first arrival to its last; ``own``: its segments."""
    pace, near = way.slowest, way.near
    mine = slice(*np.searchsorted(near.t_ns, [begin_ns, end_ns], side="right"))
    if mine.start == mine.stop:
        return
    service = pace.served_of(near.t_ns[mine])
    fresh = np.zeros(len(service), bool)
    fresh[own[(own >= mine.start) & (own < mine.stop)] - mine.start] = True
    fresh &= near.repeated_bytes[mine] == 0
    own_ns, stream_ns = float(service[fresh].sum()), float(service.sum())
    served = pace.served_until(near.t_ns[mine]) - pace.served_until(np.array([begin_ns]))
    # The first packet was through the queue when it had the propagation still before it.
    through_ns = begin_ns - float(pace.propagation_at(np.array([begin_ns]))[0])
    idle_ns = max(float((way.entered_ns[mine] - (served - service)).max()) - through_ns, 0.0)
    late_ns = end_ns - begin_ns - float(served[-1]) - idle_ns
    parts.serialisation += own_ns
    parts.transport += stream_ns - own_ns + idle_ns
    parts.queueing += float(served[-1]) - stream_ns + late_ns
