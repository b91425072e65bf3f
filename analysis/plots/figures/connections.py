"""Connections over time: round trips, and bytes in flight against the path's product."""

import polars as pl
from matplotlib.figure import Figure

from analysis.plots import style
from analysis.plots.palette import NO_UES, Palette

RTT_SCHEMA: dict[str, type[pl.DataType]] = {
    "connection": pl.String,
    "t_s": pl.Float64,
    "rtt_ms": pl.Float64,
}

FLIGHT_SCHEMA: dict[str, type[pl.DataType]] = {
    "connection": pl.String,
    "t_s": pl.Float64,
    "min_bytes": pl.Int64,
    "median_bytes": pl.Float64,
    "max_bytes": pl.Int64,
    "window_bytes": pl.Float64,
}
"""Per bin that begins at ``t_s``; ``window_bytes``: what the receiver would have let be, median."""

PATH_SCHEMA: dict[str, type[pl.DataType]] = {
    "connection": pl.String,
    "rtt_ms": pl.Float64,
    "bdp_bytes": pl.Float64,
}
"""What was measured of a connection's path, null where nothing was: round trip, and the
bandwidth-delay product."""


@style.styled
def plot_rtt(samples: pl.DataFrame, paths: pl.DataFrame, palette: Palette = NO_UES) -> Figure:
    """Draw ``RTT_SCHEMA``, a panel for each connection; dotted: the path's own round trip."""
    connections = samples["connection"].unique(maintain_order=True).to_list()
    figure = style.new_figure(
        "Round-trip times",
        "from a segment to the acknowledgement that ends with it, sender's capture; "
        "dotted: round trip of the empty path, probed",
        1.2 + 1.65 * len(connections),
    )
    panels = figure.subplots(len(connections), 1, squeeze=False)[:, 0]
    for index, (panel, connection) in enumerate(zip(panels, connections, strict=True)):
        here = samples.filter(pl.col("connection") == connection)
        panel.scatter(
            *(here["t_s"], here["rtt_ms"]),
            color=palette.pair(connection, index),
            s=5 if here.height > 300 else 16,
            linewidths=0,
            rasterized=True,
        )
        path = paths.filter(pl.col("connection") == connection)
        for rtt_ms in path["rtt_ms"].drop_nulls():
            panel.axhline(rtt_ms, color=style.BLACK, linestyle=":", linewidth=1.3)
        style.room_above(panel, 0.08)
        panel.set_ylabel("ms")
        panel.set_title(connection, fontsize=9)
    panels[-1].set_xlabel("seconds since the start of the run")
    return figure


@style.styled
def plot_flight(flight: pl.DataFrame, paths: pl.DataFrame, palette: Palette = NO_UES) -> Figure:
    """Draw ``FLIGHT_SCHEMA``, a panel for each connection; dotted: bandwidth-delay product."""
    connections = flight["connection"].unique(maintain_order=True).to_list()
    figure = style.new_figure(
        "Bytes in flight",
        "sent and not acknowledged, sender's capture; band: least and most of a bin, line: median",
        1.2 + 1.65 * len(connections),
    )
    panels = figure.subplots(len(connections), 1, squeeze=False)[:, 0]
    for index, (panel, connection) in enumerate(zip(panels, connections, strict=True)):
        here = flight.filter(pl.col("connection") == connection)
        colour = palette.pair(connection, index)
        t_s = here["t_s"].to_numpy()
        panel.fill_between(
            *(t_s, here["min_bytes"] / 1e3, here["max_bytes"] / 1e3),
            step="post",
            color=colour,
            alpha=0.3,
            linewidth=0,
        )
        panel.step(
            *(t_s, here["median_bytes"] / 1e3), where="post", color=colour, label="in flight"
        )
        path = paths.filter(pl.col("connection") == connection)
        for bdp_bytes in path["bdp_bytes"].drop_nulls():
            panel.axhline(
                bdp_bytes / 1e3, color=style.BLACK, linestyle=":", linewidth=1.3, label="BDP"
            )
        style.room_above(panel, 0.08)
        top = panel.get_ylim()[1]
        panel.step(
            *(t_s, here["window_bytes"] / 1e3),
            where="post",
            color=style.GREY,
            linestyle="--",
            linewidth=1,
            label="receiver's window",
        )
        panel.set_ylim(0, top)
        panel.set_ylabel("kB")
        panel.set_title(connection, fontsize=9)
    style.legend_beside(panels[0])
    panels[-1].set_xlabel("seconds since the start of the run")
    return figure
