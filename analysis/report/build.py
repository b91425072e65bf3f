"""From a run directory to its summary, plots and report."""

from pathlib import Path

from analysis.metrics.measure import measure
from analysis.plots import style
from analysis.plots.gallery import plots
from analysis.report.page import ShownPlot, write_report
from analysis.run.reader import read_run
from analysis.summary import Summary
from stage_node.records.run_directory import RunDirectory


def build_report(run_dir: Path) -> Summary:
    """Write ``summary.json``, ``plots/*`` (SVG, PNG, CSV), and ``report.html``.

    Needs nothing but the run directory: no root, no network, not the machine of the run. Raises
    ``NotARunError`` when it is no run directory; what a partial run lacks is left out, and said.
    """
    measured = measure(read_run(run_dir))
    summary = measured.summary
    run = RunDirectory(run_dir)
    summary.write(run.summary)
    folder = run.plots
    folder.mkdir(exist_ok=True)
    for ending in ("svg", "png", "csv"):
        for old in folder.glob(f"*.{ending}"):
            old.unlink()
    shown = []
    for plot in plots(measured):
        path = folder / f"{plot.name}.svg"
        style.save(plot.figure, plot.data, path, summary.name, summary.fidelity)
        shown.append(ShownPlot(path, plot.caption))
    write_report(run.report, measured, shown)
    return summary
