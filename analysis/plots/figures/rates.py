"""Links that vary: the rate applied beside what went through."""

import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib.figure import Figure

from analysis.plots import style

RATES_SCHEMA: dict[str, type[pl.DataType]] = {
    "label": pl.String,
    "what": pl.String,
    "t_s": pl.Float64,
    "mbit_per_s": pl.Float64,
}
"""``what``: ``applied`` from ``t_s`` on until the next, or ``achieved`` in the bin that begins."""


@style.styled
def plot_rates(rates: pl.DataFrame) -> Figure:
    """Draw ``RATES_SCHEMA``, a panel for each direction that varies."""
    labels = rates["label"].unique(maintain_order=True).to_list()
    figure = style.new_figure(
        "Links that vary: applied and achieved rate",
        "applied: what the kernel confirmed; achieved: bytes on the wire at the receiving end",
        1.3 + 2.2 * len(labels),
    )
    panels = figure.subplots(len(labels), 1, sharex=True, squeeze=False)[:, 0]
    end_s = float(rates["t_s"].to_numpy().max())
    for panel, label in zip(panels, labels, strict=True):
        here = rates.filter(pl.col("label") == label)
        applied, achieved = (_steps(here, what, end_s) for what in ("applied", "achieved"))
        panel.fill_between(*applied, step="post", color="#BBBBBB", linewidth=0, label="applied")
        panel.step(*applied, where="post", color=style.GREY, linewidth=0.6)
        panel.step(*achieved, where="post", color=style.BLUE, linewidth=1.2, label="achieved")
        style.room_above(panel, 0.08)
        panel.set_ylabel("Mbit/s")
        panel.set_title(label, fontsize=9)
    panels[0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    panels[-1].set_xlabel("seconds since the start of the run")
    return figure


def _steps(
    rates: pl.DataFrame, what: str, end_s: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Times and values that hold until the next one, the last until the end."""
    part = rates.filter(pl.col("what") == what).sort("t_s")
    values = part["mbit_per_s"].to_numpy()
    return np.append(part["t_s"].to_numpy(), end_s), np.append(values, values[-1:])
