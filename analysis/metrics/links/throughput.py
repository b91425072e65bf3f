"""Links: throughput over time, how busy they were, and whether capture and kernel agree.

**Busy.** A link is a queue that sends whenever it holds a packet (netem with a rate does), so in a
window of length ``T`` in which it delivered ``B`` bits it was busy for ``B / C`` of the time, ``C``
being its capacity. ``B`` and ``T`` are from the receiver's capture. ``C`` is measured as well: the
goodput that the probe saw, times the share of headers in the link's largest data packet. Gaps
between packets are not used: timer granularity moves single packets, and sums do not care.
"""

from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address

import numpy as np
import polars as pl

from analysis.run.network import LinkDirection
from analysis.run.reader import Run
from analysis.summary.network import LinkTraffic
from analysis.summary.pipeline import LinkLoad
from analysis.tcp.delays import one_way_delays

_FULL_PAYLOAD_BYTES = 1000
"""A smaller largest payload is no full segment: its headers' share would mislead."""

THROUGHPUT_SCHEMA: dict[str, type[pl.DataType]] = {
    "link": pl.String,
    "direction": pl.String,
    "label": pl.String,
    "t_s": pl.Float64,
    "mbit_per_s": pl.Float64,
}
"""Throughput over time: bins begin at ``t_s`` after the first event of the run."""


@dataclass(frozen=True)
class Links:
    """The traffic of every direction of every link: what went in, and what came out.

    ``sent`` and ``received`` are packet tables (``analysis.capture.packets``).
    """

    directions: tuple[LinkDirection, ...]
    sent: tuple[pl.DataFrame, ...]
    received: tuple[pl.DataFrame, ...]
    goodput_mbit: tuple[float | None, ...]
    capacity_mbit: tuple[float | None, ...]

    @classmethod
    def of(cls, run: Run) -> "Links":
        """Divide the captures by direction."""
        directions = run.network.directions
        sent = tuple(_travelling(run, d, d.sender.interface) for d in directions)
        received = tuple(_travelling(run, d, d.receiver.interface) for d in directions)
        goodputs = tuple(run.fidelity.goodput_mbit(d.link, d.direction) for d in directions)
        overheads = {
            link.name: _overhead(
                [r for d, r in zip(directions, received, strict=True) if d.link == link.name]
            )
            for link in run.network.links
        }
        capacities = tuple(
            goodput * overhead if goodput and (overhead := overheads[d.link]) else None
            for d, goodput in zip(directions, goodputs, strict=True)
        )
        return cls(directions, sent, received, goodputs, capacities)

    @cached_property
    def delays(self) -> tuple[pl.DataFrame, ...]:
        """Delays of the packets over each direction (``analysis.tcp.delays.DELAY_SCHEMA``)."""
        return tuple(
            one_way_delays(sent, received)
            for sent, received in zip(self.sent, self.received, strict=True)
        )

    def loads(self, begin_ns: int, end_ns: int) -> tuple[LinkLoad, ...]:
        """Utilisation of each direction between two moments."""
        return tuple(
            _load(direction, received, capacity, begin_ns, end_ns)
            for direction, received, capacity in zip(
                self.directions, self.received, self.capacity_mbit, strict=True
            )
        )

    def throughput(self, zero_ns: int) -> pl.DataFrame:
        """Throughput at the receivers over time, columns of ``THROUGHPUT_SCHEMA``."""
        parts = [pl.DataFrame(schema=THROUGHPUT_SCHEMA)]
        for direction, received in zip(self.directions, self.received, strict=True):
            if received.height:
                parts.append(_binned(direction, received, self.bin_ns, zero_ns))
        return pl.concat(parts)

    @cached_property
    def bin_ns(self) -> int:
        """Length of a bin of throughput: at most 300 bins of a round length, none below 50 ms."""
        times = np.concatenate([received["t_ns"].to_numpy() for received in self.received])
        span_ns = np.ptp(times) if len(times) else 0
        steps_ms = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 60_000, 600_000)
        return next((ms for ms in steps_ms if span_ns <= ms * 1_000_000 * 300), 3_600_000) * 10**6


def link_traffic(run: Run, links: Links, throughput: pl.DataFrame) -> tuple[LinkTraffic, ...]:
    """Totals of each direction, reconciled with the kernel's counters."""
    figures = []
    for index, direction in enumerate(links.directions):
        sent, received = links.sent[index], links.received[index]
        counters = run.fidelity.counters(direction.link, direction.direction)
        received_bytes = int(received["wirelen"].sum())
        qdisc_bytes = counters.sent_bytes if counters else None
        binned = throughput.filter(
            (pl.col("link") == direction.link) & (pl.col("direction") == direction.direction)
        )
        figures.append(
            LinkTraffic(
                link=direction.link,
                direction=direction.direction,
                source=direction.sender.node,
                target=direction.receiver.node,
                profile=next(x.profile for x in run.network.links if x.name == direction.link),
                probed_goodput_mbit=links.goodput_mbit[index],
                probed_capacity_mbit=links.capacity_mbit[index],
                probe_attempts=run.fidelity.attempts(direction.link, direction.direction),
                probed_rtt_ms=run.fidelity.rtt_ms(direction.link),
                sent_packets=sent.height,
                sent_wire_bytes=int(sent["wirelen"].sum()),
                received_packets=received.height,
                received_wire_bytes=received_bytes,
                lost_packets=sent.height - received.height,
                peak_mbit=binned["mbit_per_s"].max() if binned.height else None,
                qdisc_sent_bytes=qdisc_bytes,
                qdisc_dropped_packets=counters.dropped_packets if counters else None,
                qdisc_difference=(received_bytes - qdisc_bytes) / qdisc_bytes
                if qdisc_bytes
                else None,
            )
        )
    return tuple(figures)


def _travelling(run: Run, direction: LinkDirection, interface: str) -> pl.DataFrame:
    """Packets on an interface that travel in this direction."""
    sources = [int(IPv4Address(ip)) for ip in direction.sources]
    return run.captures[interface].filter(pl.col("src").is_in(sources))


def _overhead(captures: list[pl.DataFrame]) -> float | None:
    """Wire bytes per payload byte of a link's largest data packet; None without a full one."""
    sizes = pl.concat([packets.select("payload_len", "wirelen") for packets in captures])
    largest = sizes.filter(pl.col("payload_len") == pl.col("payload_len").max()).head(1)
    if not largest.height or largest["payload_len"][0] < _FULL_PAYLOAD_BYTES:
        return None
    return float(largest["wirelen"][0] / largest["payload_len"][0])


def _load(
    direction: LinkDirection,
    received: pl.DataFrame,
    capacity_mbit: float | None,
    begin_ns: int,
    end_ns: int,
) -> LinkLoad:
    inside = received.filter((pl.col("t_ns") >= begin_ns) & (pl.col("t_ns") < end_ns))
    throughput_mbit = float(inside["wirelen"].sum()) * 8e3 / (end_ns - begin_ns)
    return LinkLoad(
        link=direction.link,
        direction=direction.direction,
        source=direction.sender.node,
        target=direction.receiver.node,
        throughput_mbit=throughput_mbit,
        busy=throughput_mbit / capacity_mbit if capacity_mbit else None,
    )


def _binned(
    direction: LinkDirection, received: pl.DataFrame, bin_ns: int, zero_ns: int
) -> pl.DataFrame:
    index = (received["t_ns"].to_numpy() - zero_ns) // bin_ns
    first = int(index.min())
    sizes = np.bincount(index - first, weights=received["wirelen"].to_numpy())
    count = len(sizes)
    return pl.DataFrame(
        {
            "link": [direction.link] * count,
            "direction": [direction.direction] * count,
            "label": [direction.label] * count,
            "t_s": (first + np.arange(count)) * bin_ns / 1e9,
            "mbit_per_s": sizes * 8e3 / bin_ns,
        },
        schema=THROUGHPUT_SCHEMA,
    )
