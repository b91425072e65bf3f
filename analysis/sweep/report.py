"""Files of a sweep: one table (Parquet, CSV), the intervals, a plot per figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.plots import style
from analysis.sweep.plot import plot_figure
from analysis.sweep.table import BEST_KNOWN, SweepRun, chosen_figures, intervals, tidy, worst


@dataclass(frozen=True)
class SweepFiles:
    """Files that were written, and patterns for figures that no column fits."""

    table: Path
    plots: tuple[Path, ...]
    unknown: tuple[str, ...]


def write_sweep(
    folder: Path, name: str, runs: Sequence[SweepRun], patterns: Sequence[str]
) -> SweepFiles:
    """Write ``table.parquet``, ``table.csv``, ``intervals.csv`` and ``plots/`` into ``folder``."""
    parameters = list(runs[0].settings)
    table = tidy(runs)
    table.write_parquet(folder / "table.parquet")
    table.write_csv(folder / "table.csv")
    chosen = chosen_figures(table, patterns or BEST_KNOWN)
    means = intervals(table, parameters, chosen)
    means.write_csv(folder / "intervals.csv")
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    for old in plots.iterdir():
        if old.suffix in (".svg", ".png", ".csv"):
            old.unlink()
    written = []
    fidelity = worst(runs)
    if fidelity is not None:
        for figure in chosen:
            data = table.select(*parameters, "repetition", "verdict", figure)
            path = plots / f"{figure}.svg"
            style.save(plot_figure(table, means, parameters, figure), data, path, name, fidelity)
            written.append(path)
    unknown = tuple(each for each in patterns if not chosen_figures(table, [each]))
    return SweepFiles(folder / "table.parquet", tuple(written), unknown)
