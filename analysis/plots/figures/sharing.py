"""Users of a shared link: the throughput of its users, one upon the other."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from analysis.plots import style
from analysis.plots.figures.throughput import edges
from analysis.plots.palette import ARROW, NO_UES, Palette, lighter

OTHERS_COLOUR = "#999999"


@style.styled
def plot_sharing(
    sharing: pl.DataFrame, capacity: pl.DataFrame, palette: Palette = NO_UES
) -> Figure:
    """Draw ``metrics.sharing.SHARING_SCHEMA``, a panel for every direction in it.

    ``capacity`` as in ``plot_throughput``.
    """
    directions = sharing.partition_by("link", "direction", maintain_order=True)
    figure = style.new_figure(
        "Who used the shared links",
        "bytes on the wire at the receiving end, one user upon the other; dotted: probed capacity",
        1.3 + 2.1 * len(directions),
    )
    panels = figure.subplots(len(directions), 1, sharex=True, squeeze=False)[:, 0]
    for panel, here in zip(panels, directions, strict=True):
        users = here.partition_by("user", maintain_order=True)
        below = np.zeros(users[0].height)
        taken: set[str] = set()
        for index, each in enumerate(users):
            name = each["user"][0]
            colour = palette.pair(name, index) if ARROW in name else OTHERS_COLOUR
            while colour in taken:
                colour = lighter(colour)
            taken.add(colour)
            above = below + each["mbit_per_s"].to_numpy()
            panel.stairs(
                above,
                edges(each["t_s"].to_numpy()),
                baseline=below,
                fill=True,
                facecolor=colour,
                edgecolor=(1, 1, 1, 0.6),
                hatch=style.HATCHES[index % len(style.HATCHES)],
                linewidth=0,
                label=name,
            )
            below = above
        mine = (pl.col("link") == here["link"][0]) & (pl.col("direction") == here["direction"][0])
        for limit in capacity.filter(mine)["mbit"].drop_nulls():
            panel.axhline(limit, color=style.BLACK, linestyle=":", linewidth=1.2)
        panel.set_ylabel(f"{here['label'][0]}\nMbit/s")
        style.room_above(panel, 0.08)
        style.legend_beside(panel, reverse=True)
    panels[-1].set_xlabel("seconds since the start of the run")
    return figure
