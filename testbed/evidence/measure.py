"""Accuracy against bytes at one cut, for each mechanism alone and for compositions.

python -m testbed.evidence.measure MODEL --data cifar10 --after block2_8 --out table.json \
    [--fringe-layers 2] [--module NAME=FILE ...]

What is measured is what serves: a split goes, frame by frame, through the very halves and codecs
of two stages, and is classified from what was decoded. Train data calibrates, validation data is
there to choose by, test data is only reported. An interrupted measurement continues if the command
is given again.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from controller.ladder.basis import calibrate
from controller.ladder.bench import CutBench
from controller.ladder.bottlenecks import load_modules
from controller.ladder.cache import LadderRequest
from controller.ladder.ladder import LadderRung, ModuleFile
from controller.split.partition import split_after
from stage_node.data import SOURCES, Dataset, load_dataset
from stage_node.fringe.bottleneck import TrainedBottleneck, load_bottleneck
from stage_node.models import load_model
from stage_node.models.checkpoint import read_metadata
from stage_node.wire.rung import QUANTISED, Rung
from testbed.errors import OUR_ERRORS
from testbed.evidence.command import reading_table
from testbed.experiment.named_models import existing_checkpoint

CALIBRATION_IMAGES = 1000
FRAME_IMAGES = 16
WIDTHS = (16, 8, 4, 2)
NARROW = (8, 6, 5, 4, 3, 2)
KEPT = (0.5, 0.25, 0.125, 0.0625)


@dataclass(frozen=True)
class Variant:
    """A point of the plot: a rung, and the series of mechanisms that it belongs to."""

    series: str
    rung: Rung


@dataclass(frozen=True)
class Row:
    """A line of the table; accuracies are shares of the images of a split.

    MACs are of the fringe layers on either side as they serve, with encoder and decoder.
    """

    name: str
    series: str
    bytes_per_image: float
    times_fewer: float
    test_accuracy: float
    points_lost: float
    validation_accuracy: float
    sender_macs: int
    receiver_macs: int
    trained: bool


def variants(modules: Mapping[str, TrainedBottleneck], channels: int) -> Iterator[Variant]:
    """All that is measured, the uncompressed cut first."""

    def variant(series: str, **fields: Any) -> Variant:
        return Variant(series, Rung.of(channels, **fields))

    yield variant("uncompressed")
    for name, module in modules.items():
        series = "distilled" if module.spec.hidden else "width, 8 bit, tuned"
        for zstd in (False, True):
            label = series + ", zstd" * zstd
            yield variant(label, module=name, bits=module.spec.bits, zstd=zstd)
    yield variant("zstd", zstd=True)
    for width in NARROW:
        yield variant("width, 8 bit", width=width, bits=8)
        yield variant("width, 8 bit, zstd", width=width, bits=8, zstd=True)
    for bits in QUANTISED:
        yield variant("quantisation", bits=bits)
        yield variant("quantisation, zstd", bits=bits, zstd=True)
    yield from (variant("width", width=width) for width in WIDTHS)
    yield from (variant("sparse", keep=keep) for keep in KEPT)
    yield from (variant("fringe weights", weights=keep) for keep in KEPT)
    yield from (variant("width, 4 bit, zstd", width=w, bits=4, zstd=True) for w in (12, 8, 6))
    yield from (variant("sparse, 4 bit, zstd", keep=k, bits=4, zstd=True) for k in KEPT[1:3])


def benches(request: LadderRequest, dataset: Dataset) -> tuple[CutBench, CutBench]:
    """The one cut of ``request`` with the validation and with the test split before it."""
    model = load_model(request.checkpoint)
    images = dataset.train.images[: request.calibration_images]
    (calibration,) = calibrate(model, request.partition, torch.split(images, request.batch))
    modules = load_modules(request.modules, model, request.partition, request.fringe_layers)
    validation, test = (
        CutBench(model, request, 0, calibration.cut, modules, split)
        for split in (dataset.validation, dataset.test)
    )
    return validation, test


def measured(
    validating: CutBench, testing: CutBench, chosen: Iterator[Variant], known: Mapping[str, Row]
) -> Iterator[Row]:
    """The rows of the table, as they are measured; those ``known`` are not measured again."""
    uncompressed: Row | None = None
    for variant in chosen:
        row = known.get(variant.rung.name)
        if row is None:
            row = _row(variant, validating, testing.measured(variant.rung), uncompressed)
        uncompressed = uncompressed or row
        yield row


def _row(
    variant: Variant, validating: CutBench, on_test: LadderRung, uncompressed: Row | None
) -> Row:
    size = on_test.payload_bytes
    whole_bytes = uncompressed.bytes_per_image if uncompressed else size
    accuracy = uncompressed.test_accuracy if uncompressed else on_test.accuracy
    return Row(
        name=variant.rung.name,
        series=variant.series,
        bytes_per_image=round(size, 1),
        times_fewer=round(whole_bytes / size, 2),
        test_accuracy=on_test.accuracy,
        points_lost=round(100 * (accuracy - on_test.accuracy), 2),
        validation_accuracy=validating.measured(variant.rung).accuracy,
        sender_macs=on_test.fringe.sender_macs,
        receiver_macs=on_test.fringe.receiver_macs,
        trained=variant.rung.module is not None,
    )


def main(arguments: list[str] | None = None) -> int:
    """The command; exit status 2 for arguments that make no sense."""
    options = _parser().parse_args(arguments)
    files = dict(pair.split("=", 1) for pair in options.module)
    try:
        checkpoint = existing_checkpoint(str(options.model))
        model = load_model(checkpoint)
        dataset = load_dataset(options.data, options.data_folder)
        modules = {name: load_bottleneck(Path(file)) for name, file in files.items()}
        request = LadderRequest(
            checkpoint=checkpoint,
            dataset=dataset.name,
            stages=split_after(model.layer_names, [options.after]).stages,
            mechanisms=("weights", "width", "distill", "sparse", "quantise", "zstd"),
            fringe_layers=options.fringe_layers,
            calibration_images=CALIBRATION_IMAGES,
            validation_images=len(dataset.validation),
            batch=FRAME_IMAGES,
            modules=tuple(
                ModuleFile(name=name, after=options.after, file=file)
                for name, file in files.items()
            ),
        )
        validating, testing = benches(request, dataset)
        known: dict[str, Row] = {}
        if options.out.exists():
            with reading_table(options.out, "testbed.evidence.measure"):
                rows = json.loads(options.out.read_text())["rows"]
                known = {row["name"]: Row(**row) for row in rows}
        table: dict[str, Any] = {
            "model": options.model.name,
            "after": options.after,
            "dataset": dataset.name,
            "fringe_layers": options.fringe_layers,
            "raw_image_bytes": dataset.raw_bytes_per_image,
            "frame_images": FRAME_IMAGES,
            "images": {"calibration (train)": CALIBRATION_IMAGES,
                       "validation": len(dataset.validation), "test": len(dataset.test)},
            "training": {name: json.loads(read_metadata(Path(file)).get("distilled", "null"))
                         for name, file in files.items()},
            "rows": [],
        }  # fmt: skip
        chosen = variants(modules, testing.facts.channels)
        for row in measured(validating, testing, chosen, known):
            table["rows"].append(asdict(row))
            # Rows known from before stay in the file until they have been passed.
            later = [
                asdict(r) for n, r in known.items() if n not in {r["name"] for r in table["rows"]}
            ]
            text = json.dumps({**table, "rows": table["rows"] + later}, indent=1)
            options.out.write_text(text + "\n")
            print(
                f"{row.bytes_per_image:9.1f} bytes  {row.test_accuracy:.4f}  {row.name}", flush=True
            )
    except OUR_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("testbed.evidence.measure", description=__doc__)
    add = parser.add_argument
    add("model", type=Path, help="a checkpoint, or a .th file of akamaster's CIFAR ResNets")
    add("--after", required=True, help="the last layer before the cut")
    add("--data", choices=sorted(SOURCES), default="cifar10")
    add("--data-folder", type=Path, help="where archives lie")
    add("--module", action="append", default=[], metavar="NAME=FILE", help="a distilled module")
    add("--fringe-layers", type=int, default=1, help="on each side of the cut")
    add("--out", type=Path, required=True, help="the JSON file to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
