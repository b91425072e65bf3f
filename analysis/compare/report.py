"""Files of a comparison: a page, its table as CSV, and the intervals drawn."""

from pathlib import Path

from analysis.compare.comparison import Comparison
from analysis.compare.plot import plot_differences
from analysis.plots import style
from analysis.report.page import ShownPlot, page
from stage_node.records.vocabulary import VERDICTS


def write_comparison(folder: Path, comparison: Comparison) -> Path:
    """Write ``compare.html``, ``compare.csv`` and ``plots/``; the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    comparison.table.write_csv(folder / "compare.csv")
    shown = []
    if comparison.table["low"].count():
        judged = [run.summary.fidelity for column in comparison.columns for run in column.runs]
        worst = max(judged, key=lambda fidelity: VERDICTS.index(fidelity.verdict))
        (folder / "plots").mkdir(exist_ok=True)
        path = folder / "plots" / "differences.svg"
        names = " / ".join(column.name for column in comparison.columns)
        figure = plot_differences(comparison.table)
        style.save(figure, comparison.table, path, names, worst)
        shown.append(ShownPlot(path, "Differences that have an interval."))
    html = page(
        "compare.html.j2",
        comparison=comparison,
        differing=[each for each in comparison.conditions if each.differs],
        same=[each for each in comparison.conditions if not each.differs],
        plots=shown,
    )
    target = folder / "compare.html"
    target.write_text(html, encoding="utf-8")
    return target
