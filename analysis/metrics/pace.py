"""How fast and how far each direction of a link is, at any moment of a run.

**Service.** A link sends one byte after the other at its capacity: what the probe measured, or,
after a change that the run applied (``LinkChanged``), the rate of that change. Both count whole
Ethernet frames, as the captures and netem do. *Service time* is the sum of bytes / capacity. Where
the probe could not tell (loss sets the goodput then), the capacity is what the link delivered while
it was busy for certain: bytes / time between arrivals of packets that had entered before the one in
front of them was through (Keshav's packet pairs, SIGCOMM 1991, summed).

**Propagation.** The least time that any packet took from the capture before the link to the one
behind it, less its own service time: over a whole run some packet finds an empty queue (the SYN, if
no other). A delay that the run changed is added where it applied. Jitter beyond the least delay is
not propagation.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.metrics.links import Links
from analysis.network import LinkDirection
from analysis.rundir import Run
from analysis.streams import NEVER, Int64s
from stage_node.events import LinkChanged

BUSY_PACKETS = 200
"""Fewer packets that found the link busy say too little of its capacity."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pace:
    """One direction of a link.

    ``since_ns``, ``ns_per_byte``, ``delay_ns``: from each moment on, until the next. The first
    moment is before all others. ``t_ns`` and ``served_ns`` are per packet that arrived: when, and
    the service time of all packets up to it.
    """

    step: LinkDirection
    since_ns: Int64s
    ns_per_byte: Floats
    delay_ns: Floats
    propagation_ns: float
    t_ns: Int64s
    served_ns: Floats

    def service_ns(self, wire_bytes: npt.NDArray[np.integer], t_ns: Int64s) -> Floats:
        """How long packets of these sizes that arrive at these times occupy the link."""
        return np.asarray(wire_bytes * self.ns_per_byte[self._then(t_ns)], np.float64)

    def propagation_at(self, t_ns: Int64s) -> Floats:
        """Propagation of packets that arrive at these times, in ns."""
        return np.asarray(self.propagation_ns + self.delay_ns[self._then(t_ns)], np.float64)

    def served_until(self, t_ns: Int64s) -> Floats:
        """Service time of everything that had arrived by these times."""
        count = np.searchsorted(self.t_ns, t_ns, side="right")
        return np.where(count > 0, self.served_ns[np.maximum(count - 1, 0)], 0.0)

    def _then(self, t_ns: Int64s) -> Int64s:
        return np.maximum(np.searchsorted(self.since_ns, t_ns, side="right") - 1, 0)


def paces(run: Run, links: Links) -> dict[LinkDirection, Pace]:
    """Of every direction whose capacity is known and that any packet crossed."""
    directions = zip(
        links.directions, links.capacity_mbit, links.received, links.delays, strict=True
    )
    known = (_pace(run, *direction) for direction in directions)
    return {pace.step: pace for pace in known if pace is not None}


def _pace(
    run: Run,
    step: LinkDirection,
    capacity_mbit: float | None,
    received: pl.DataFrame,
    delays: pl.DataFrame,
) -> Pace | None:
    way = (step.link, step.direction)
    changes = [c for c in run.events_of(LinkChanged) if (c.link, c.direction) == way]
    arrived = delays.drop_nulls()
    rates = [c.rate_mbit for c in changes]
    first_mbit = capacity_mbit or next(iter(rates), None) or _busy_mbit(arrived)
    if first_mbit is None or not arrived.height:
        return None
    delays_ms = np.array([c.delay_ms for c in changes])
    extra_ms = np.append(delays_ms[:1], delays_ms) - delays_ms.min() if changes else np.zeros(1)
    t_ns, sizes = received["t_ns"].to_numpy(), received["wirelen"].to_numpy()
    pace = Pace(
        step=step,
        since_ns=np.array([-NEVER, *(c.t_ns for c in changes)], np.int64),
        ns_per_byte=8e3 / np.array([first_mbit, *rates]),
        delay_ns=extra_ms * 1e6,
        propagation_ns=0.0,
        t_ns=t_ns,
        served_ns=np.zeros(0),
    )
    came = arrived["arrived_ns"].to_numpy()
    service = pace.service_ns(arrived["wirelen"].to_numpy(), came)
    alone = arrived["delay_ns"].to_numpy() - service - pace.propagation_at(came)
    served_ns = np.cumsum(pace.service_ns(sizes, t_ns))
    return replace(pace, propagation_ns=float(alone.min()), served_ns=served_ns)


def _busy_mbit(arrived: pl.DataFrame) -> float | None:
    """Rate of the packets that found the one before them still on the link."""
    ordered = arrived.sort("arrived_ns")
    through = pl.col("arrived_ns").shift(1) - pl.col("delay_ns").min()
    gap_ns = pl.col("arrived_ns").diff()
    busy = ordered.with_columns(gap_ns=gap_ns).filter(pl.col("t_ns") < through)
    if busy.height < BUSY_PACKETS or not busy["gap_ns"].sum():
        return None
    return int(busy["wirelen"].sum()) * 8e3 / int(busy["gap_ns"].sum())
