"""Accuracy against bytes at one cut, for each mechanism alone and for compositions.

python -m testbed.evidence.measure MODEL --data cifar10 --after block2_8 --out table.json \
    [--module NAME=FILE ...]

Bytes are those of payloads: a split is encoded, frame by frame, by the codecs that serve on the
wire, and decoded from those bytes again. Train data calibrates, validation data is there to
choose by, test data is only reported. An interrupted measurement goes on when the command is
given again.
"""

import argparse
import copy
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from controller.basis import Moments, principal_basis
from controller.distill import receiving_fringe
from controller.distill_frozen import channels_last, folded
from controller.ranges import calibrated_ranges
from stage_node.bottleneck import TrainedBottleneck, load_bottleneck
from stage_node.codecs import Codec, Coding, Ranges
from stage_node.cut import Cut
from stage_node.data import SOURCES, Split, load_dataset
from stage_node.models import ChainModel, Segment, load_model
from stage_node.models.chain import counted_macs
from stage_node.models.checkpoint import read_metadata
from stage_node.rung import QUANTISED, Rung
from testbed.errors import OUR_ERRORS
from testbed.validation import existing_checkpoint

CALIBRATION_IMAGES = 1000
CALIBRATION_VECTORS = 50_000
FRAME_IMAGES = 16
BATCH = 20 * FRAME_IMAGES
WIDTHS = (16, 8, 4, 2)
NARROW = (8, 6, 5, 4, 3, 2)
KEPT = (0.5, 0.25, 0.125, 0.0625)


@dataclass(frozen=True)
class Variant:
    """A point of the plot: a rung, and the series of mechanisms that it belongs to."""

    series: str
    rung: Rung

    @property
    def lossy(self) -> Rung:
        """The rung without lossless coding, which changes no accuracy."""
        return self.rung.model_copy(update={"zstd": False, "name": ""})


@dataclass(frozen=True)
class Row:
    """A line of the table; accuracies are shares of the images of a split."""

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


@dataclass(frozen=True, eq=False)
class Halves:
    """What lies between the two stages under one rung, and the layers behind.

    ``sending`` is the last layer of the sender where the rung brings a tuned one.
    """

    sending: nn.Module | None
    encoder: nn.Module
    coding: Coding
    decoder: nn.Module
    behind: nn.Module


@dataclass(frozen=True, eq=False)
class Sent:
    """A split at the cut: activations (N, C, H, W) that are sent, and ``earlier`` ones, before
    the sender's last layer."""

    earlier: Tensor
    activations: Tensor
    labels: Tensor

    def codes(self, halves: Halves) -> Iterator[tuple[Tensor, Tensor]]:
        """What is coded under a rung, and labels, batch by batch."""
        source = self.activations if halves.sending is None else self.earlier
        for batch, labels in zip(
            torch.split(source, BATCH), torch.split(self.labels, BATCH), strict=True
        ):
            x = batch if halves.sending is None else halves.sending(batch)
            yield halves.encoder(x).contiguous(), labels


@dataclass(frozen=True, eq=False)
class Bench:
    """A model cut after a layer, with what is resident at that cut."""

    cut: Cut
    shape: tuple[int, ...]
    sending: Segment
    behind: Segment
    modules: Mapping[str, TrainedBottleneck]

    def halves(self, rung: Rung) -> Halves:
        """Both sides of the cut under a rung."""
        codec = Codec.of(rung)
        if rung.module is not None:
            module = self.modules[rung.module]
            channels = module.spec.channels
            unit = Ranges(torch.zeros(channels), torch.ones(channels))
            coding = Coding(codec, module.spec.code_shape, 1.0, unit)
            sending = tuned(self.sending, module) if holds(self.sending, module) else None
            behind = folded(tuned(self.behind, module))
            return Halves(sending, module.encoder, coding, module.decoder, behind)
        ranges = self.cut.ranges_of(rung.width, rung.bits)
        if rung.width is None:
            coding = Coding(codec, self.shape, rung.keep, ranges)
            return Halves(None, nn.Identity(), coding, nn.Identity(), folded(self.behind))
        coding = Coding(codec, (rung.width, *self.shape[1:]), rung.keep, ranges)
        encoder, decoder = self.cut.encoder(rung.width), self.cut.decoder(rung.width)
        return Halves(None, encoder, coding, decoder, folded(self.behind))

    @torch.inference_mode()
    def bytes_per_image(self, rung: Rung, sent: Sent) -> float:
        """Mean payload of all frames of a split."""
        halves = self.halves(rung)
        size = 0
        for codes, _ in sent.codes(halves):
            frames = torch.split(codes, FRAME_IMAGES)
            size += sum(len(halves.coding.encode(frame)) for frame in frames)
        return size / len(sent.labels)

    @torch.inference_mode()
    def accuracy(self, rung: Rung, sent: Sent) -> float:
        """Share classified right from what was decoded at the receiver."""
        halves = self.halves(rung)
        correct = 0
        for codes, truth in sent.codes(halves):
            payload = memoryview(bytearray(halves.coding.encode(codes)))
            arrived = halves.decoder(halves.coding.decode(payload, tuple(codes.shape)))
            logits = halves.behind(channels_last(arrived))
            correct += int((logits.argmax(1) == truth).sum())
        return correct / len(sent.labels)

    def macs(self, rung: Rung) -> tuple[int, int]:
        """Multiply-accumulates of encoder and decoder for one image."""
        halves = self.halves(rung)
        x = torch.zeros(1, *self.shape)
        sender, codes = counted_macs(halves.encoder, x)
        receiver, _ = counted_macs(halves.decoder, codes)
        return sender, receiver


def tuned(layers: Segment, module: TrainedBottleneck) -> Segment:
    """A copy of the layers, a module's own in the place of the fringe."""
    changed = copy.deepcopy(layers)
    own = changed.state_dict()
    changed.load_state_dict(own | {n: t for n, t in module.layers.items() if n in own})
    return changed


def holds(layers: Segment, module: TrainedBottleneck) -> bool:
    """Whether a module brings its own tensors for some of the layers."""
    return not module.layers.keys().isdisjoint(layers.state_dict())


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
    yield from (variant("width, 4 bit, zstd", width=w, bits=4, zstd=True) for w in (12, 8, 6))
    yield from (variant("sparse, 4 bit, zstd", keep=k, bits=4, zstd=True) for k in KEPT[1:3])


@torch.inference_mode()
def sent_over(model: ChainModel, after: str, split: Split, limit: int | None = None) -> Sent:
    """A split in float32 at the cut, computed by the frozen layers before it."""
    cut = model.layer_names.index(after)
    before, last = model.segment(model.layer_names[:cut]), model.segment([after])
    images = torch.split(split.images[:limit], BATCH)
    earlier = torch.cat([before(batch).contiguous() for batch in images])
    activations = torch.cat([last(batch).contiguous() for batch in torch.split(earlier, BATCH)])
    return Sent(earlier, activations, split.labels[:limit])


def calibrated_cut(activations: Tensor) -> Cut:
    """Basis and ranges from activations of train images, as the controller calibrates them."""
    basis = principal_basis(Moments.of(activations))
    vectors = activations.movedim(1, -1).reshape(-1, activations.shape[1])
    stride = max(1, len(vectors) // CALIBRATION_VECTORS)
    vectors = vectors[::stride]
    return Cut(
        basis=basis.vectors,
        mean=basis.mean,
        plain_ranges=calibrated_ranges(vectors),
        ranges=calibrated_ranges((vectors - basis.mean) @ basis.vectors),
    )


def measure(
    model: ChainModel, after: str, calibration: Split, validation: Split, test: Split,
    modules: Mapping[str, TrainedBottleneck], known: Mapping[str, Row],
) -> Iterator[Row]:  # fmt: skip
    """The rows of the table, as they are measured; those ``known`` are not measured again."""
    receiving = receiving_fringe(model, after)
    behind = model.segment(model.layer_names[model.layer_names.index(receiving[0]) :])
    calibrating = sent_over(model, after, calibration, CALIBRATION_IMAGES).activations
    shape, sending = tuple(calibrating.shape[1:]), model.segment([after])
    bench = Bench(calibrated_cut(calibrating), shape, sending, behind, modules)
    validating, testing = (sent_over(model, after, split) for split in (validation, test))
    raw = 4 * calibrating[0].numel()
    accuracies: dict[Rung, tuple[float, float]] = {}
    uncompressed = None
    for variant in variants(modules, bench.shape[0]):
        row = known.get(variant.rung.name)
        if row is None:
            if variant.lossy not in accuracies:
                on_validation, on_test = (
                    bench.accuracy(variant.lossy, sent) for sent in (validating, testing)
                )
                accuracies[variant.lossy] = on_validation, on_test
            on_validation, on_test = accuracies[variant.lossy]
            size = bench.bytes_per_image(variant.rung, testing)
            lost = 100 * ((on_test if uncompressed is None else uncompressed) - on_test)
            sender, receiver = bench.macs(variant.rung)
            row = Row(
                variant.rung.name, variant.series, round(size, 1), round(raw / size, 2), on_test,
                round(lost, 2), on_validation, sender, receiver, variant.rung.module is not None,
            )  # fmt: skip
        accuracies.setdefault(variant.lossy, (row.validation_accuracy, row.test_accuracy))
        uncompressed = row.test_accuracy if uncompressed is None else uncompressed
        yield row


def main(arguments: list[str] | None = None) -> int:
    """The command; exit status 2 for arguments that make no sense."""
    options = _parser().parse_args(arguments)
    files = dict(pair.split("=", 1) for pair in options.module)
    try:
        model = load_model(existing_checkpoint(str(options.model)))
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        dataset = load_dataset(options.data, options.data_folder)
        modules = {name: load_bottleneck(Path(file)) for name, file in files.items()}
        known: dict[str, Row] = {}
        if options.out.exists():
            rows = json.loads(options.out.read_text())["rows"]
            known = {row["name"]: Row(**row) for row in rows}
        table: dict[str, Any] = {
            "model": options.model.name,
            "after": options.after,
            "dataset": dataset.name,
            "raw_image_bytes": dataset.raw_bytes_per_image,
            "frame_images": FRAME_IMAGES,
            "images": {"calibration (train)": CALIBRATION_IMAGES,
                       "validation": len(dataset.validation), "test": len(dataset.test)},
            "training": {name: json.loads(read_metadata(Path(file)).get("distilled", "null"))
                         for name, file in files.items()},
            "rows": [],
        }  # fmt: skip
        for row in measure(
            model, options.after, dataset.train, dataset.validation, dataset.test, modules, known
        ):
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
        print(f"measure: {error}", file=sys.stderr)
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
    add("--out", type=Path, required=True, help="the JSON file to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
