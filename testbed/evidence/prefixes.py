"""Error against bytes received: every prefix of trained checkpoints on the whole test split.

python -m testbed.evidence.prefixes OUT_FOLDER LABEL=FILE[,FILE...]...

Several files of one label are seeds of one training: the plot shows their mean, and their standard
deviation as a band. What OUT_FOLDER/table.json has of a file already is not measured again.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from functools import partial
from itertools import chain
from operator import mul
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import style
from controller.accordion.accuracy import evaluate
from stage_node.accordion.prefix import PrefixReader
from stage_node.data import Dataset, load_dataset
from stage_node.models.checkpoint import read_metadata
from stage_node.records.configuration import configuration_name
from testbed.errors import OUR_ERRORS
from testbed.evidence.command import reading_table
from testbed.experiment.named_models import existing_checkpoint

PAPER_BITS = 64
"""Bits of a parameter on the Mbit axis of Ayed et al.; an fp32 file has 32."""

MARKERS = "os^vDP*X"


def measured(path: Path, data_folder: Path | None) -> dict[str, Any]:
    """One file: how it was made, and bytes and test accuracy of every configuration."""
    content = path.read_bytes()
    reader = PrefixReader()
    reader.feed(content)
    header = reader.require_header()
    metadata = read_metadata(path)
    dataset: Dataset = load_dataset(metadata["dataset"], data_folder)
    print(f"{path.name}: {len(header.configurations)} configurations", flush=True)
    return {
        "file": path.name,
        "sha256": _digest(path),
        "weights": header.weights.name,
        "command": metadata["command"],
        "dataset": dataset.name,
        "images": len(dataset.test),
        "configurations": [
            {
                "configuration": list(configuration),
                "bytes": size,
                "accuracy": evaluate(reader.load(configuration), dataset.test),
            }
            for configuration, size in header.configurations.items()
        ],
    }


def curves(table: dict[str, Any]) -> pl.DataFrame:
    """A row for each label and configuration: bytes, mean and deviation of the error over seeds."""
    rows = [
        {
            "label": label,
            "configuration": configuration_name(point["configuration"]),
            "bytes": point["bytes"],
            "error": 1 - point["accuracy"],
        }
        for label, files in table["labels"].items()
        for file in files
        for point in file["configurations"]
    ]
    return (
        pl.DataFrame(rows)
        .group_by("label", "configuration", maintain_order=True)
        .agg(
            bytes=pl.col("bytes").mean(),
            seeds=pl.len(),
            error_mean=pl.col("error").mean(),
            error_deviation=pl.col("error").std(),
        )
    )


@style.styled
def draw(data: pl.DataFrame, images: int, dataset: str, path: Path) -> Figure:
    """Error of every label against the bytes that its prefixes take (SVG)."""
    figure = style.new_figure(
        "Error against what has been received",
        f"all {images:,} test images of {dataset}; upper scale: {PAPER_BITS} bits a parameter in "
        "place of 32, as the paper's axis has it",
        5.0,
    )
    axes = figure.subplots()
    for index, part in enumerate(data.partition_by("label", maintain_order=True)):
        colour = style.COLOURS[index % len(style.COLOURS)]
        mbit, error = part["bytes"] * 8e-6, 100 * part["error_mean"]
        axes.plot(
            *(mbit, error),
            color=colour,
            linestyle=style.LINES[index % len(style.LINES)],
            marker=MARKERS[index % len(MARKERS)],
            markersize=5,
            label=part["label"][0],
        )
        deviation = 100 * part["error_deviation"].fill_null(0)
        axes.fill_between(mbit, error - deviation, error + deviation, color=colour, alpha=0.15)
    _scales(axes, 100 * float(data["error_mean"].min()))  # type: ignore[arg-type]
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    # Without the date, the same table gives the same file.
    figure.savefig(path, format="svg", metadata={"Date": None})
    return figure


def _scales(axes: Axes, least: float) -> None:
    """Error in octaves, for the small ones count; both of the scales of megabits."""
    axes.set_yscale("log")
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 90) if tick > least / 2]
    axes.set_yticks(ticks, [f"{tick}" for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.set_ylim(0.9 * least, 100)
    axes.set_xlim(left=0)
    axes.set_xlabel("Mbit of the file received")
    axes.set_ylabel("test error, % (log)")
    paper = axes.secondary_xaxis(
        "top", functions=(partial(mul, PAPER_BITS / 32), partial(mul, 32 / PAPER_BITS))
    )
    paper.set_xlabel(f"Mbit at {PAPER_BITS} bits a parameter")


def main(arguments: list[str] | None = None) -> int:
    """The command; exit status 2 for arguments that make no sense."""
    options = _parser().parse_args(arguments)
    out: Path = options.out
    try:
        chosen = dict(_chosen(options.files))
        out.mkdir(parents=True, exist_ok=True)
        known = dict(_known(out / "table.json"))
        for path in (path for paths in chosen.values() for path in paths):
            if _digest(path) not in known:
                known[_digest(path)] = measured(path, options.data_folder)
            table = _table(chosen, known)  # with what an earlier call measured of files yet to come
            (out / "table.json").write_text(json.dumps(table, indent=1) + "\n")
    except OUR_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    data = curves(table)
    first = next(iter(table["labels"].values()))[0]
    draw(data, first["images"], first["dataset"], out / "error-against-bytes.svg")
    data.write_csv(out / "error-against-bytes.csv")
    return 0


def _table(chosen: dict[str, list[Path]], known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Select the files to measure, by label."""
    labels = {
        label: [
            known[_digest(path)] | {"file": path.name}  # whatever it was called before
            for path in paths
            if _digest(path) in known
        ]
        for label, paths in chosen.items()
    }
    return {"labels": {label: files for label, files in labels.items() if files}}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _known(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of an earlier table, by the digest of the file."""
    if path.exists():
        with reading_table(path, "testbed.evidence.prefixes"):
            files = chain.from_iterable(json.loads(path.read_text())["labels"].values())
            known = {file["sha256"]: file for file in files}
        yield from known.items()


def _chosen(given: list[str]) -> Iterator[tuple[str, list[Path]]]:
    for pair in given:
        label, _, files = pair.rpartition("=")
        yield label or Path(files).stem, [existing_checkpoint(file) for file in files.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m testbed.evidence.prefixes")
    parser.add_argument("out", type=Path, help="folder for table.json and the plot")
    parser.add_argument("files", nargs="+", metavar="LABEL=FILE[,FILE...]", help="checkpoints")
    parser.add_argument("--data-folder", type=Path, help="where the archives of data sets lie")
    return parser


if __name__ == "__main__":
    sys.exit(main())
