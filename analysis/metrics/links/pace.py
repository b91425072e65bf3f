"""Pace of each direction of a link, at any moment of a run: its rate and its delay.

**Service.** A link sends one byte after the other at its capacity: what the probe measured, or,
after a change that the run applied (``LinkChanged``), the rate of that change. Both count whole
Ethernet frames, as the captures and netem do. The *service time* of a packet is bytes / capacity.
Where the probe could not tell (loss sets the goodput then), the capacity is what the link delivered
while it was busy for certain: bytes / time between arrivals of packets that had entered before the
one in front of them was through (Keshav's packet pairs, SIGCOMM 1991, summed).
On a link that varies, a packet that entered before the one in front was through was served for the
time between their arrivals, whatever the rate was meanwhile.

**Passage.** A packet that finds an ordinary link idle leaves it after its own service time. A link
that varies is a token bucket with a delay behind it: such a packet goes through at once, and the
next one waits for its service time instead.

**Propagation.** The least time that any packet took from the capture before the link to the one
behind it, less its own passage: over a whole run some packet finds an empty queue (the SYN, if no
other). A delay that the run changed is added where it applied. Jitter beyond the least delay is not
propagation. Rate and delay are of the moment at which a packet was through, a propagation
before it arrived.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.metrics.links.throughput import Links
from analysis.run.network import LinkDirection
from analysis.run.reader import Run
from analysis.tcp.streams import NEVER, Int64s
from stage_node.records.events import LinkChanged

BUSY_PACKETS = 200
"""Fewer packets that found the link busy say too little of its capacity."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pace:
    """One direction of a link.

    ``since_ns``, ``ns_per_byte``, ``delay_ns``: from each moment on, until the next. The first
    moment is before all others. ``t_ns`` and ``served_ns`` are per packet that arrived, in that
    order: when, and the service time of all packets up to it. All methods take times of arrival.
    """

    step: LinkDirection
    since_ns: Int64s
    ns_per_byte: Floats
    delay_ns: Floats
    propagation_ns: float
    t_ns: Int64s
    served_ns: Floats

    @property
    def varies(self) -> bool:
        """Return True if the run changed it."""
        return len(self.since_ns) > 1

    def service_ns(self, wire_bytes: npt.NDArray[np.integer], t_ns: Int64s) -> Floats:
        """Time that packets of these sizes occupy the link."""
        return np.asarray(wire_bytes * self.ns_per_byte[self._then(t_ns)], np.float64)

    def passage_ns(self, wire_bytes: npt.NDArray[np.integer], t_ns: Int64s) -> Floats:
        """Time that they take through the idle link."""
        return self.service_ns(wire_bytes, t_ns) * (not self.varies)

    def propagation_at(self, t_ns: Int64s) -> Floats:
        """Propagation, in ns."""
        return np.asarray(self.propagation_ns + self.delay_ns[self._then(t_ns)], np.float64)

    def served_of(self, t_ns: Int64s) -> Floats:
        """Service time of the packets that arrived at these very times."""
        return np.diff(self.served_ns, prepend=0.0)[np.searchsorted(self.t_ns, t_ns)]

    def served_until(self, t_ns: Int64s) -> Floats:
        """Service time of everything that had arrived by these times."""
        count = np.searchsorted(self.t_ns, t_ns, side="right")
        return np.where(count > 0, self.served_ns[np.maximum(count - 1, 0)], 0.0)

    def _then(self, t_ns: Int64s) -> Int64s:
        through_ns = t_ns - round(self.propagation_ns)
        return np.maximum(np.searchsorted(self.since_ns, through_ns, side="right") - 1, 0)


def paces(run: Run, links: Links) -> dict[LinkDirection, Pace]:
    """Paces of every direction whose capacity is known and that any packet crossed."""
    directions = zip(links.directions, links.capacity_mbit, links.delays, strict=True)
    known = (_pace(run, *direction) for direction in directions)
    return {pace.step: pace for pace in known if pace is not None}


def _pace(
    run: Run, step: LinkDirection, capacity_mbit: float | None, delays: pl.DataFrame
) -> Pace | None:
    way = (step.link, step.direction)
    changes = [c for c in run.events_of(LinkChanged) if (c.link, c.direction) == way]
    arrived = delays.drop_nulls().sort("arrived_ns")
    rates = [c.rate_mbit for c in changes]
    first_mbit = capacity_mbit or next(iter(rates), None) or _busy_mbit(delays)
    if first_mbit is None or not arrived.height:
        return None
    delays_ms = np.array([c.delay_ms for c in changes])
    extra_ms = np.append(delays_ms[:1], delays_ms) - delays_ms.min() if changes else np.zeros(1)
    pace = Pace(
        step=step,
        since_ns=np.array([-NEVER, *(c.t_ns for c in changes)], np.int64),
        ns_per_byte=8e3 / np.array([first_mbit, *rates]),
        delay_ns=extra_ms * 1e6,
        propagation_ns=0.0,
        t_ns=arrived["arrived_ns"].to_numpy(),
        served_ns=np.zeros(0),
    )
    sizes, delay_ns = arrived["wirelen"].to_numpy(), arrived["delay_ns"].to_numpy()
    passed = replace(pace, propagation_ns=float(delay_ns.min()))
    alone = delay_ns - pace.passage_ns(sizes, pace.t_ns) - passed.delay_ns[passed._then(pace.t_ns)]
    passed = replace(pace, propagation_ns=float(alone.min()))
    service = passed.service_ns(sizes, pace.t_ns)
    if changes:
        busy, gap_ns = _found_busy(arrived)
        service = np.where(busy, gap_ns, service)
    return replace(passed, served_ns=np.cumsum(service))


def _found_busy(arrived: pl.DataFrame) -> tuple[npt.NDArray[np.bool_], Int64s]:
    """Mark packets, in the order of arrival, that entered before the one in front was
    through, and how long after that one it arrived."""
    t_ns = arrived["arrived_ns"].to_numpy()
    before_ns = np.concatenate([t_ns[:1], t_ns[:-1]])
    through_ns = before_ns - arrived["delay_ns"].to_numpy().min(initial=NEVER)
    return arrived["t_ns"].to_numpy() < through_ns, t_ns - before_ns


def busy_packets(delays: pl.DataFrame) -> pl.DataFrame:
    """Packets that found the one before them still on the link, in the order of arrival.

    Columns of ``analysis.tcp.delays.DELAY_SCHEMA``, and ``gap_ns`` since that one arrived.
    """
    ordered = delays.drop_nulls().sort("arrived_ns")
    busy, gap_ns = _found_busy(ordered)
    return ordered.with_columns(pl.Series("gap_ns", gap_ns)).filter(pl.Series(busy))


def _busy_mbit(delays: pl.DataFrame) -> float | None:
    """Deliveries of the link while it was busy for certain."""
    busy = busy_packets(delays)
    if busy.height < BUSY_PACKETS or not busy["gap_ns"].sum():
        return None
    return int(busy["wirelen"].sum()) * 8e3 / int(busy["gap_ns"].sum())
