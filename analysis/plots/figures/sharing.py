"""Users of a shared link: the throughput of its users, one upon the other."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from analysis.plots import style
from analysis.plots.figures.throughput import edges


@style.styled
def plot_sharing(sharing: pl.DataFrame, capacity: pl.DataFrame) -> Figure:
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
        for index, each in enumerate(users):
            above = below + each["mbit_per_s"].to_numpy()
            panel.stairs(
                above,
                edges(each["t_s"].to_numpy()),
                baseline=below,
                fill=True,
                facecolor=style.COLOURS[index],
                edgecolor=(1, 1, 1, 0.6),
                hatch=style.HATCHES[index],
                linewidth=0,
                label=each["user"][0],
            )
            below = above
        mine = (pl.col("link") == here["link"][0]) & (pl.col("direction") == here["direction"][0])
        for limit in capacity.filter(mine)["mbit"].drop_nulls():
            panel.axhline(limit, color=style.BLACK, linestyle=":", linewidth=1.2)
        panel.set_ylabel(f"{here['label'][0]}\nMbit/s")
        style.room_above(panel, 0.08)
        panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.03), reverse=True)
    panels[-1].set_xlabel("seconds since the start of the run")
    return figure
