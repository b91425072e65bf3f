"""Plots of a run's connections, with the tables they are drawn from."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.metrics.measure import Measured
from analysis.plots.figures.connections import (
    FLIGHT_SCHEMA,
    PATH_SCHEMA,
    RTT_SCHEMA,
    plot_flight,
    plot_rtt,
)
from analysis.plots.palette import palette_of
from analysis.plots.plot import Plot
from analysis.tcp.connections import TwoEnds
from analysis.tcp.flight import bytes_in_flight
from analysis.tcp.rtt import rtt_from_acks
from analysis.tcp.streams import Flow

DOWNLOADS_SHOWN = 2
MARKS = 2000
BINS = 300
LEAST_BIN_NS = 5_000_000


@dataclass(frozen=True)
class _Connection:
    name: str
    ends: TwoEnds


def connection_plots(measured: Measured) -> Iterator[Plot]:
    """Round trips and bytes in flight of the cuts and of the largest downloads."""
    connections = _connections(measured)
    palette = palette_of(measured)
    shown = _shown(len(measured.transfers))
    paths = pl.DataFrame(
        [(c.name, *_path(measured, c.ends)) for c in connections], schema=PATH_SCHEMA, orient="row"
    )
    rtt, thinned = _rtt(measured, connections)
    if rtt.height:
        yield Plot(
            "rtt",
            "Round-trip times of each connection; without segments that were sent again, "
            "whose acknowledgement could be for either (Karn)." + thinned + shown,
            plot_rtt(rtt, paths, palette),
            rtt,
        )
    flight = _flight(measured, connections)
    if flight.height:
        yield Plot(
            "flight",
            "Bytes in flight of each connection. Below the bandwidth-delay product of its path, "
            "capacity times probed round trip, the path is not filled; what is above it waits in "
            "a queue." + shown,
            plot_flight(flight, paths, palette),
            flight,
        )


def _connections(measured: Measured) -> list[_Connection]:
    found = []
    activations = measured.frames.filter(pl.col("kind") == "activation")
    key = ["local_ip", "local_port", "peer_ip", "peer_port"]
    for row in activations.unique(key, keep="last", maintain_order=True).iter_rows(named=True):
        flow = Flow(*(row[column] for column in key))
        ends = measured.wire.two_ends(flow, row["t_end_ns"])
        if ends:
            found.append(_Connection(f"activations: {row['node']} → {row['peer']}", ends))
    sized = sorted(measured.transfers, key=lambda t: -t.ends.receiver.payload_bytes)
    for nth, transfer in enumerate(sized[:DOWNLOADS_SHOWN], 1):
        server = measured.run.network.owner(transfer.ends.flow.src)
        name = f"download {nth}: {server} → {transfer.event.who}"
        found.append(_Connection(name, transfer.ends))
    return found


def _shown(downloads: int) -> str:
    """Sentence about downloads that are left out."""
    if downloads <= DOWNLOADS_SHOWN:
        return ""
    return f" Of {downloads} downloads, the {DOWNLOADS_SHOWN} that brought most are shown."


def _path(measured: Measured, ends: TwoEnds) -> tuple[float | None, float | None]:
    """Probed round trip of the path in ms, and its bandwidth-delay product in bytes."""
    rtts = [measured.run.fidelity.rtt_ms(step.link) for step in ends.path]
    known = [measured.paces[step] for step in ends.path if step in measured.paces]
    if None in rtts:
        return None, None
    rtt_ms = sum(rtt for rtt in rtts if rtt is not None)
    if len(known) < len(rtts) or any(pace.varies for pace in known):
        return rtt_ms, None
    return rtt_ms, rtt_ms * 1e6 / max(pace.ns_per_byte[0] for pace in known)


def _rtt(measured: Measured, connections: list[_Connection]) -> tuple[pl.DataFrame, str]:
    parts, most = [pl.DataFrame(schema=RTT_SCHEMA)], 1
    for connection in connections:
        samples = rtt_from_acks(connection.ends.sender).filter(~pl.col("is_ambiguous"))
        every = -(-samples.height // MARKS) or 1
        most = max(most, every)
        parts.append(
            samples.gather_every(every).select(
                pl.lit(connection.name).alias("connection"),
                ((pl.col("t_ns") - measured.run.begin_ns) / 1e9).alias("t_s"),
                (pl.col("rtt_ns") / 1e6).alias("rtt_ms"),
            )
        )
    thinned = "" if most == 1 else f" Of many, one in up to {most} is shown."
    return pl.concat(parts), thinned


def _flight(measured: Measured, connections: list[_Connection]) -> pl.DataFrame:
    parts = [pl.DataFrame(schema=FLIGHT_SCHEMA)]
    for connection in connections:
        table = bytes_in_flight(connection.ends.sender)
        span_ns = int(table["t_ns"][-1]) - int(table["t_ns"][0])
        bin_ns = max(span_ns // BINS, LEAST_BIN_NS)
        bins = (
            table.group_by(pl.col("t_ns") // bin_ns, maintain_order=True)
            .agg(
                pl.col("flight_bytes").min().alias("min_bytes"),
                pl.col("flight_bytes").median().alias("median_bytes"),
                pl.col("flight_bytes").max().alias("max_bytes"),
                pl.col("flight_bytes").last().alias("last_bytes"),
                pl.col("window_bytes").median(),
            )
            .rename({"t_ns": "bin"})
        )
        first, last = int(bins["bin"][0]), int(bins["bin"][-1])
        every = pl.DataFrame({"bin": np.arange(first, last + 1)})
        # While nothing passes, what was in flight stays in flight.
        stays = pl.col("last_bytes", "window_bytes").forward_fill()
        filled = every.join(bins, on="bin", how="left", maintain_order="left").with_columns(stays)
        parts.append(
            filled.select(
                pl.lit(connection.name).alias("connection"),
                ((pl.col("bin") * bin_ns - measured.run.begin_ns) / 1e9).alias("t_s"),
                *(
                    pl.col(column).fill_null(pl.col("last_bytes")).cast(FLIGHT_SCHEMA[column])
                    for column in ("min_bytes", "median_bytes", "max_bytes")
                ),
                pl.col("window_bytes"),
            )
        )
    return pl.concat(parts)
