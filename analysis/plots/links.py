"""Plots of a run's links, with the tables they are drawn from."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from analysis.metrics.links.pace import busy_packets
from analysis.metrics.links.sharing import sharing
from analysis.metrics.measure import Measured
from analysis.plots.figures.packets import (
    DISTRIBUTION_SCHEMA,
    IDEAL_SCHEMA,
    plot_delays,
    plot_departures,
)
from analysis.plots.figures.rates import RATES_SCHEMA, plot_rates
from analysis.plots.figures.sharing import plot_sharing
from analysis.plots.figures.throughput import Span, plot_throughput
from analysis.plots.palette import palette_of
from analysis.plots.plot import Plot
from analysis.run.network import LinkDirection
from analysis.run.reader import Run
from stage_node.records.events import LinkChanged, Measurement

LEAST_PACKETS = 30
"""A distribution of fewer packets would be a drawing of chance."""

_SHARES = np.concatenate([np.linspace(0, 0.99, 100), 1 - np.logspace(-2, -4, 21)[1:], [1.0]])


def link_plots(measured: Measured) -> Iterator[Plot]:
    """Throughput, who used what is shared, rates applied, one-way delays, departures."""
    if measured.throughput.height:
        yield _throughput(measured)
        yield from _sharing(measured)
    yield from _rates(measured)
    yield from _delays(measured)
    yield from _departures(measured)


def _throughput(measured: Measured) -> Plot:
    return Plot(
        "throughput",
        "Throughput at the receiving end of each link. Shaded: the windows and downloads that the "
        "figures are taken from. Dotted: the capacity that was probed, where it stayed so.",
        plot_throughput(
            measured.throughput, _capacity(measured), _spans(measured), palette_of(measured)
        ),
        measured.throughput,
    )


def _sharing(measured: Measured) -> Iterator[Plot]:
    """Only where several share a link."""
    table = sharing(measured.run.network, measured.links, measured.run.begin_ns)
    if table.height:
        yield Plot(
            "sharing",
            "Who used the links that several share: what each pair of hosts had of them. Dotted: "
            "the capacity that was probed, where it stayed so.",
            plot_sharing(table, _capacity(measured), palette_of(measured)),
            table,
        )


def _capacity(measured: Measured) -> pl.DataFrame:
    """As probed, of the directions whose rate stayed."""
    varied = {
        (each.link, each.direction)
        for each in measured.summary.replays
        if each.rate_mbit_min < each.rate_mbit_max
    }
    steady = [x for x in measured.summary.links if (x.link, x.direction) not in varied]
    return pl.DataFrame(
        [(x.link, x.direction, x.probed_capacity_mbit) for x in steady],
        schema={"link": pl.String, "direction": pl.String, "mbit": pl.Float64},
        orient="row",
    )


def _spans(measured: Measured) -> list[Span]:
    zero_ns = measured.run.begin_ns
    windows = [
        (f"{pipeline.title} {window.label}".strip(), window.begin_ns, window.end_ns)
        for pipeline in measured.pipelines
        for window in pipeline.run.events_of(Measurement)
    ]
    downloads = [("download", t.begin_ns, t.end_ns) for t in measured.transfers]
    return [
        Span(label, (begin - zero_ns) / 1e9, (end - zero_ns) / 1e9)
        for label, begin, end in (*windows, *downloads)
    ]


def _rates(measured: Measured) -> Iterator[Plot]:
    """Only where something was changed while the run went on."""
    parts = [pl.DataFrame(schema=RATES_SCHEMA)]
    for step in measured.links.directions:
        here = (pl.col("link") == step.link) & (pl.col("direction") == step.direction)
        achieved = measured.throughput.filter(here).select(
            pl.lit(f"{step.link}: {step.label}").alias("label"),
            pl.lit("achieved").alias("what"), "t_s", "mbit_per_s",
        )  # fmt: skip
        applied = applied_rates(measured.run, step, achieved)
        parts += [applied, achieved] if applied.height else []
    table = pl.concat(parts)
    if table.height:
        yield Plot(
            "rates",
            "The rate applied to each link that varies, as the kernel confirmed it, beside what "
            "came through. It is lower where there was less to send.",
            plot_rates(table),
            table,
        )


def applied_rates(run: Run, step: LinkDirection, achieved: pl.DataFrame) -> pl.DataFrame:
    """Values applied to a direction while there was traffic: as configured until the first
    change, and without the return to that when all was over. Empty where nothing was changed."""
    mine = [
        ((change.t_ns - run.begin_ns) / 1e9, change.rate_mbit)
        for change in run.events_of(LinkChanged)
        if (change.link, change.direction) == (step.link, step.direction)
    ]
    empty = pl.DataFrame(schema=RATES_SCHEMA)
    if not mine or not achieved.height:
        return empty
    (link,) = (each for each in run.network.links if each.name == step.link)
    configured = link.shape(step.direction).rate_mbit
    times = achieved["t_s"].to_list()
    begin_s, end_s = min(times), max(times)
    rows = [(begin_s, configured)] if begin_s < mine[0][0] else []
    rows += [(t_s, mbit) for t_s, mbit in mine if t_s <= end_s]
    label = f"{step.link}: {step.label}"
    return pl.DataFrame(
        [(label, "applied", t_s, mbit) for t_s, mbit in rows], RATES_SCHEMA, orient="row"
    )


def _delays(measured: Measured) -> Iterator[Plot]:
    known = measured.paces
    parts = [pl.DataFrame(schema=DISTRIBUTION_SCHEMA)]
    least = []
    for step, delays in _directions(measured):
        parts.append(_quantiles(step, delays["delay_ns"].drop_nulls()))
        if step in known and parts[-1].height:
            least.append((step.link, step.label, known[step].propagation_ns / 1e6))
    table = pl.concat(parts)
    if table.height:
        yield Plot(
            "one_way_delay",
            "How long packets took over each link, all traffic of the run, both directions. To the "
            "right of the dotted line: serialisation and queueing.",
            plot_delays(
                table, pl.DataFrame(least, schema=IDEAL_SCHEMA, orient="row"), palette_of(measured)
            ),
            table,
        )


def _departures(measured: Measured) -> Iterator[Plot]:
    known = measured.paces
    parts = [pl.DataFrame(schema=DISTRIBUTION_SCHEMA)]
    ideal = []
    for step, delays in _directions(measured):
        if step not in known or known[step].varies:
            continue  # on a link that varies there is no one ideal
        packets = busy_packets(delays)
        if packets.height < LEAST_PACKETS:
            continue
        size = packets["wirelen"].to_numpy().max()
        full = packets.filter(pl.col("wirelen") == size)["gap_ns"]
        parts.append(_quantiles(step, full))
        if parts[-1].height:
            ideal.append((step.link, step.label, size * known[step].ns_per_byte[0] / 1e6))
    table = pl.concat(parts)
    if table.height:
        yield Plot(
            "departures",
            "Share of the packets that followed the one before them later than so: packets of "
            "full size that had entered the link before the one in front was through. An ideal "
            "link would drop from 1 to 0 at the dotted line; to its left a packet caught up.",
            plot_departures(
                table, pl.DataFrame(ideal, schema=IDEAL_SCHEMA, orient="row"), palette_of(measured)
            ),
            table,
        )


def _directions(measured: Measured) -> Iterator[tuple[LinkDirection, pl.DataFrame]]:
    yield from zip(measured.links.directions, measured.links.delays, strict=True)


def _quantiles(step: LinkDirection, times_ns: pl.Series) -> pl.DataFrame:
    if len(times_ns) < LEAST_PACKETS:
        return pl.DataFrame(schema=DISTRIBUTION_SCHEMA)
    # No quantile beyond what this number of packets supports.
    shares = _SHARES[(_SHARES == 1) | (1 / len(times_ns) <= 1 - _SHARES)]
    return pl.DataFrame(
        {
            "link": [step.link] * len(shares),
            "label": [step.label] * len(shares),
            "share": shares,
            "ms": np.quantile(times_ns.to_numpy(), shares) / 1e6,
        },
        schema=DISTRIBUTION_SCHEMA,
    )
