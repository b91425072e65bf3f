"""Error over time while a model arrives: several models over several links.

python -m testbed.evidence.arrival OUT_FOLDER TABLE RUN_DIR...

The runs differ in the link of a UE and in the model; ``TABLE`` is the table.json of
``testbed.evidence.prefixes``, whose labels name the models and whose errors are of the whole test
split. When a configuration was there is from the runs: its last byte in the UE's capture.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.errors import NotARunError
from analysis.metrics.measure import measure
from analysis.plots import style
from analysis.run.reader import read_run
from stage_node.records.configuration import configuration_name
from stage_node.records.run_directory import RunDirectory
from testbed.evidence.command import call_with_paths, reading_table

COLUMNS = (
    "link", "model", "configuration", "bytes", "delivered_s", "error", "fidelity",
)  # fmt: skip


def arrivals(folder: Path, errors: dict[tuple[str, str], tuple[str, float]]) -> pl.DataFrame:
    """A row for every configuration that came to run in a run.

    ``errors``: label and error by file name (without suffix) and configuration. ``NotARunError``
    for a run without a delivery, or with a model that the table does not know.
    """
    summary = measure(read_run(folder)).summary
    if summary.accordion is None:
        raise NotARunError(f"{folder}: delivered no model")
    rows = []
    for each in summary.accordion.configurations:
        configuration = configuration_name(each.configuration)
        if (each.model, configuration) not in errors:
            raise NotARunError(f"{folder}: the table has no {configuration} of {each.model}")
        label, error = errors[each.model, configuration]
        rows.append(
            (_link(folder), label, configuration, each.file_bytes, each.delivered_s, error,
             summary.fidelity.verdict)
        )  # fmt: skip
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def _link(folder: Path) -> str:
    """The profile that the experiment names for the link."""
    network = yaml.safe_load(RunDirectory(folder).experiment.read_text())["network"]
    links = network["links"]
    link = links[0] if isinstance(links, list) else links
    return str(link["profile"] if isinstance(link, dict) else link)


def errors_of(path: Path) -> dict[tuple[str, str], tuple[str, float]]:
    """Label and test error of every file's configurations; ``BadTableError``."""
    with reading_table(path, "testbed.evidence.prefixes"):
        return {
            (Path(file["file"]).stem, configuration_name(point["configuration"])): (
                label,
                round(1 - point["accuracy"], 6),
            )
            for label, files in json.loads(path.read_text())["labels"].items()
            for file in files
            for point in file["configurations"]
        }


@style.styled
def draw(data: pl.DataFrame, path: Path) -> Figure:
    """A panel for each link: the error of what can run, over the time since the first SYN."""
    links = data["link"].unique(maintain_order=True).to_list()
    models = data["model"].unique(maintain_order=True).to_list()
    verdicts = ", ".join(sorted(set(data["fidelity"])))
    figure = style.new_figure(
        "Error while the model arrives",
        "test error of the best configuration that is complete, from its last byte on; "
        f"links: {verdicts}",
        0.8 + 2.6 * -(-len(links) // 2),
    )
    panels = figure.subplots(-(-len(links) // 2), 2, sharey=True, squeeze=False).flatten()
    for axes, link in zip(panels, links, strict=False):
        _panel(axes, data.filter(pl.col("link") == link), models)
        axes.set_title(link)
    for axes in panels[len(links) :]:
        axes.axis("off")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    # Without the date, the same runs give the same file.
    figure.savefig(path, format="svg", metadata={"Date": None})
    return figure


def _panel(axes: Axes, data: pl.DataFrame, models: Sequence[str]) -> None:
    end_s = 1.05 * float(data["delivered_s"].max())  # type: ignore[arg-type]
    for index, model in enumerate(models):
        mine = data.filter(pl.col("model") == model).sort("delivered_s")
        best = 100 * mine["error"].cum_min()
        axes.step(
            [*mine["delivered_s"], end_s],
            [*best, best[-1]],
            where="post",
            color=style.COLOURS[index % len(style.COLOURS)],
            linestyle=style.LINES[index % len(style.LINES)],
            marker="os^v"[index % 4],
            markevery=list(range(mine.height)),
            markersize=4,
            label=model,
        )
    axes.set_yscale("log")
    axes.set_yticks([5, 10, 20, 50, 90], ["5", "10", "20", "50", "90"])
    axes.set_yticks([], minor=True)
    axes.set_xlim(0, end_s)
    axes.set_xlabel("seconds since the first SYN")
    axes.set_ylabel("test error, % (log)")


def make(out: Path, table: Path, *folders: Path) -> None:
    """``error-over-time.csv``, the same as JSON, and its plot."""
    errors = errors_of(table)
    order = list(dict.fromkeys(label for label, _ in errors.values()))
    data = pl.concat([arrivals(folder, errors) for folder in folders]).sort(
        "link", pl.col("model").map_elements(order.index, pl.Int64), "delivered_s"
    )
    out.mkdir(parents=True, exist_ok=True)
    data.write_csv(out / "error-over-time.csv")
    (out / "error-over-time.json").write_text(json.dumps(data.to_dicts(), indent=1) + "\n")
    draw(data, out / "error-over-time.svg")


def main(arguments: Sequence[str]) -> int:
    """The command; exit status 2 for arguments that make no sense."""
    return call_with_paths(make, __doc__, arguments, least=3)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
