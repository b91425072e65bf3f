"""Trains from the command line: reads what was asked for, shows the progress, prints the table."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.progress import TimeRemainingColumn as Remaining
from rich.table import Table
from tensorboardX import SummaryWriter

from controller.accordion.compute import Compute, chosen_compute
from controller.accordion.lookup import LookupTable, read_table
from controller.accordion.training.checkpoint import BadTrainingError, Training, train_checkpoint
from controller.accordion.training.iterations import SCHEDULES, EpochDone, Hooks, Recipe
from controller.accordion.training.sampling import SCHEMES, Distribution, draws_in_words
from controller.accordion.training.variant import write_variant
from stage_node.accordion.server.served_file import ServedFile
from stage_node.data import SOURCES
from stage_node.models.weight_format import WeightFormat
from stage_node.records.configuration import Configuration, configuration_name
from testbed.errors import BadExperimentError
from testbed.experiment.named_models import existing_checkpoint
from topologies.catalogues.wording import in_words
from topologies.errors import BadTopologyError
from topologies.links.profiles import load_profile

RECIPE = (
    "epochs", "batch", "learning_rate", "weight_decay", "schedule", "seed", "frozen_blocks",
)  # fmt: skip
CHOICES = {
    "scheme": SCHEMES,
    "schedule": SCHEDULES,
    "device": ("auto", "cpu", "cuda"),
    "precision": ("auto", "fp32", "bf16"),
    "data": tuple(sorted(SOURCES)),
}


def run_training(given: dict[str, Any]) -> None:
    """``concertina train`` with its options as they came from the command line."""
    for name, allowed in CHOICES.items():
        if given[name] not in allowed:
            raise BadTrainingError(f"--{name}: {given[name]!r} is none of {', '.join(allowed)}")
    machine = {name: given.pop(name) for name in ("data_folder", "device", "precision", "logs")}
    checkpoint: Path = given.pop("checkpoint")
    training = training_of(given)
    prepare_output(checkpoint)
    console = Console()
    with (
        chosen_compute(machine["device"], machine["precision"]) as compute,
        _watched(machine["logs"], compute, console) as hooks,
    ):
        table = train_checkpoint(training, checkpoint, machine["data_folder"], compute, hooks)
    if table is not None:
        console.print(lookup_table(checkpoint, table))
        console.print(f"written: {checkpoint}", highlight=False, soft_wrap=True)


def training_of(given: dict[str, Any]) -> Training:
    """Type the options; ``BadTrainingError`` names the one that makes no sense."""
    asked = dict(given)
    recipe = Recipe(**{name: asked.pop(name) for name in RECIPE})
    for name in ("start", "teacher"):
        asked[name] = None if asked[name] is None else _checkpoint(f"--{name}", asked[name])
    return Training(
        **asked
        | {
            "option": dict(_pairs("--option", asked["option"], "=")),
            "rungs": tuple(_configuration(text) for text in asked["rungs"] or ()),
            "links": {
                _rate_mbit(link): _number("--links", weight)
                for link, weight in _pairs("--links", asked["links"], ":")
            },
            "required": {
                _number("--required", accuracy): _number("--required", weight)
                for accuracy, weight in _pairs("--required", asked["required"], ":")
            },
            "recipe": recipe,
        }
    )


def prepare_output(file: Path) -> None:
    """Make its folder; ``BadTrainingError`` for a file that could not be written in the end."""
    if file.suffix != ".safetensors":
        raise BadTrainingError(f"{file}: a checkpoint's name ends in .safetensors")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadTrainingError(f"{file}: no such folder can be made: {error.strerror}") from error


def show_table(checkpoint: Path) -> None:
    """``concertina lut``."""
    path = existing_checkpoint(str(checkpoint))
    ServedFile.read(path)  # says what is wrong with a damaged one
    Console().print(lookup_table(path, read_table(path)))


def run_variant(
    checkpoint: Path, out: Path, bits: int, keep: float, data_folder: Path | None
) -> None:
    """``concertina variant``."""
    try:
        weights = WeightFormat.model_validate({"bits": bits, "keep": keep})
    except ValidationError as error:
        wrong = "; ".join(f"--{each['loc'][0]}: {in_words(each)}" for each in error.errors())
        raise BadTrainingError(wrong) from None
    prepare_output(out)
    console = Console()
    with console.status("measuring every configuration on validation images"):
        table = write_variant(existing_checkpoint(str(checkpoint)), weights, out, data_folder)
    console.print(lookup_table(out, table))
    console.print(f"written: {out}", highlight=False, soft_wrap=True)


def lookup_table(checkpoint: Path, table: LookupTable) -> Table:
    """A look-up table for the terminal."""
    shown = Table(title=f"{checkpoint.stem}: {table.samples} validation images of {table.dataset}")
    for column in ("configuration", "bytes", "share of the file", "accuracy", "MACs"):
        shown.add_column(column, justify="left" if column == "configuration" else "right")
    whole = table.entries[-1].end_byte
    for entry in table.entries:
        shown.add_row(
            configuration_name(entry.configuration),
            f"{entry.end_byte:,}",
            f"{entry.end_byte / whole:.1%}",
            f"{entry.accuracy:.2%}",
            f"{entry.macs:,}",
        )
    return shown


@contextmanager
def _watched(logs: Path | None, compute: Compute, console: Console) -> Iterator[Hooks]:
    """Hooks that move a bar, print an epoch a line, and write for TensorBoard."""
    if not compute.leads:
        yield Hooks()
        return
    writer = SummaryWriter(str(logs)) if logs else None
    bar = Progress(
        SpinnerColumn(), TextColumn("training"), BarColumn(), TaskProgressColumn(), Remaining(),
        console=console,
    )  # fmt: skip
    task = bar.add_task("training", total=None)

    def on_begin(distribution: Distribution) -> None:
        console.print(f"drawn: {draws_in_words(distribution)}", highlight=False, soft_wrap=True)

    def on_batch(done: int, total: int) -> None:
        bar.start()  # not before it is sure that there is something to train
        bar.update(task, completed=done, total=total)

    def on_epoch(done: EpochDone) -> None:
        bar.console.print(
            f"epoch {done.epoch}/{done.epochs}: loss {done.loss:.4f}, validation accuracy of "
            f"the whole network {done.validation_accuracy:.2%}",
            highlight=False,
        )
        if writer is not None:
            writer.add_scalar("loss/train", done.loss, done.epoch)
            writer.add_scalar("accuracy/validation", done.validation_accuracy, done.epoch)
            writer.add_scalar("learning rate", done.learning_rate, done.epoch)
            writer.flush()

    try:
        yield Hooks(on_begin, on_batch, on_epoch)
    finally:
        if bar.live.is_started:
            bar.stop()
        if writer is not None:
            writer.close()


def _checkpoint(option: str, file: Path) -> Path:
    try:
        return existing_checkpoint(str(file))
    except BadExperimentError as error:
        raise BadTrainingError(f"{option}: {error}") from None


def _pairs(option: str, given: Sequence[str] | None, separator: str) -> list[tuple[str, str]]:
    pairs = []
    for text in given or ():
        left, found, right = text.rpartition(separator)  # FILE.yaml:NAME:WEIGHT
        if not (left and found and right):
            raise BadTrainingError(f"{option}: {text!r} is not A{separator}B")
        pairs.append((left, right))
    return pairs


def _number(option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if value < 0:
        raise BadTrainingError(f"{option}: {text!r} is no number from 0 on")
    return value


def _configuration(text: str) -> Configuration:
    if not all(part.isdecimal() for part in text.split("-")):
        raise BadTrainingError(f"--rungs: {text!r} is no configuration such as 4-2-1")
    return tuple(int(part) for part in text.split("-"))


def _rate_mbit(link: str) -> float:
    """Mbit/s, given as such or as a profile whose downlink is meant."""
    if link.replace(".", "", 1).isdecimal():
        return _number("--links", link)
    try:
        return load_profile(link).down.rate_mbit
    except BadTopologyError as error:
        raise BadTrainingError(f"--links: {error}") from None
