"""From what ``concertina distill`` was asked for to a trained bottleneck, with a progress bar."""

import math
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
)
from rich.progress import TimeElapsedColumn as Elapsed

from controller.distillation.distill import Distilled, distil, receiving_fringe, sending_fringe
from controller.distillation.training import DistillationProgress, DistillationRecipe
from controller.fringe.budget import bytes_for_bandwidth, bytes_for_latency
from controller.keeping.user_cache import cache_folder
from stage_node.data import Dataset, load_dataset
from stage_node.fringe.bottleneck import BottleneckSpec, choose_bottleneck, load_bottleneck
from stage_node.models import ChainModel, load_model
from testbed.errors import BadExperimentError
from testbed.experiment.file import (
    find_experiment,
    shipped_experiments,
)
from testbed.experiment.named_models import existing_checkpoint
from testbed.planning.checked import CheckedExperiment, checked_file
from testbed.planning.processes import plan_pipeline
from testbed.planning.validation import CheckedPipeline, check_data
from topologies.networks.paths import bottleneck_mbit, delay_ms, path_between

DATA = "cifar10"
"""The data set of a model for which none is named."""


@dataclass(frozen=True)
class BudgetLink:
    """Targets of the cut's link, and the link's own values; ``None``: not given."""

    latency_ms: float | None = None
    inferences_per_s: float | None = None
    rate_mbit: float | None = None
    delay_ms: float | None = None
    frame_images: int | None = None


@dataclass(frozen=True)
class BottleneckForm:
    """The bytes per image, or the architecture itself."""

    budget_bytes: float | None = None
    stride: int = 2
    channels: int | None = None
    bits: int = 2
    hidden: int = 64


@dataclass(frozen=True)
class DistillationTraining:
    """Options of the training, and of what is trained beside the bottleneck."""

    epochs: int
    minutes: float | None
    batch: int
    learning_rate: float
    features_only: float
    seed: int
    versions: int
    fringe_layers: int | None
    tune_sender: bool
    start: Path | None

    @property
    def recipe(self) -> DistillationRecipe:
        """For the trainer."""
        return DistillationRecipe(
            self.epochs,
            math.inf if self.minutes is None else self.minutes,
            self.batch,
            learning_rate=self.learning_rate,
            features_only=self.features_only,
            seed=self.seed,
        )


@dataclass(frozen=True)
class DistillationRequest:
    """The whole command."""

    subject: str
    pipeline: str | None
    after: str | None
    assignments: tuple[str, ...]
    link: BudgetLink
    form: BottleneckForm
    training: DistillationTraining
    data: str | None
    data_folder: Path | None
    work: Path | None
    out: Path


@dataclass(frozen=True, eq=False)
class Subject:
    """The subject of a distillation: cut, model, data, link, with how deep a fringe."""

    model: ChainModel
    dataset: Dataset
    after: str
    link: BudgetLink
    fringe_layers: int


def run_distillation(wish: DistillationRequest, console: Console | None = None) -> Distilled:
    """Distil what is wished for and write it; what it cost is returned, and shown.

    Every mistake is an error of one line before the training starts.
    """
    console = console or Console()
    if not wish.out.parent.is_dir():
        raise BadExperimentError(f"--out: there is no folder {wish.out.parent}")
    minutes = wish.training.minutes
    if minutes is not None and not minutes > 0:
        raise BadExperimentError(f"--minutes: must be more than 0, got {minutes:g}")
    subject = _subject(wish)
    images = len(subject.dataset.train)
    if wish.training.batch > images:
        raise BadExperimentError(
            f"--batch: {wish.training.batch} images, but {subject.dataset.name} has {images} to "
            "train on"
        )
    receiving_fringe(subject.model, subject.after, subject.fringe_layers)
    if wish.training.tune_sender:
        sending_fringe(subject.model, subject.after, subject.fringe_layers)
    spec = bottleneck_of(wish.form, subject)
    start = load_bottleneck(wish.training.start) if wish.training.start else None
    _, height, width = spec.code_shape
    console.print(
        f"{spec.size_bytes} bytes per image after {subject.after}: {spec.channels} channels of "
        f"{spec.bits} bits at {height} x {width}; the raw image has "
        f"{subject.dataset.raw_bytes_per_image}",
        highlight=False,
    )
    with _bars(console) as bars:
        result = distil(
            subject.model,
            subject.dataset,
            subject.after,
            spec,
            wish.training.recipe,
            wish.work or cache_folder("distill"),
            wish.out,
            wish.training.versions,
            start,
            subject.fringe_layers,
            wish.training.tune_sender,
            _Training(bars).show,
            _Caching(bars).show,
        )
    _tell(result, subject, wish.out, console)
    return result


def bottleneck_of(form: BottleneckForm, subject: Subject) -> BottleneckSpec:
    """The architecture: from the one budget that is given, or as it is described.

    ``BadExperimentError`` where nothing or too much is given, ``BadTargetsError`` and
    ``BadModelError`` where a budget is too small.
    """
    given = (form.budget_bytes, subject.link.latency_ms, subject.link.inferences_per_s)
    if sum(value is not None for value in (*given, form.channels)) != 1:
        raise BadExperimentError(
            "give one of --budget-bytes, --latency-ms, --inferences-per-s and --channels"
        )
    _, channels, height, width = subject.model.shapes()[subject.after]
    shape = (channels, height, width)
    if form.channels is None:
        return choose_bottleneck(_budget_bytes(form, subject.link), shape)
    try:
        return BottleneckSpec.model_validate(
            {"in_shape": shape, "stride": form.stride, "channels": form.channels}
            | {"bits": form.bits, "hidden": form.hidden}
        )
    except ValidationError as error:
        mistake = error.errors()[0]
        where = ".".join(str(part) for part in mistake["loc"])
        raise BadExperimentError(
            f"{'--' + where + ': ' if where else ''}{mistake['msg'].removeprefix('Value error, ')}"
        ) from None


def _budget_bytes(form: BottleneckForm, link: BudgetLink) -> float:
    """Payload bytes per image."""
    if form.budget_bytes is not None:
        return form.budget_bytes
    if link.rate_mbit is None:
        raise BadExperimentError(
            "--rate-mbit: missing; only an experiment says how fast its link is"
        )
    images = link.frame_images or 1
    if link.latency_ms is not None:
        return bytes_for_latency(link.latency_ms, link.rate_mbit, link.delay_ms or 0.0, images)
    assert link.inferences_per_s is not None
    return bytes_for_bandwidth(link.inferences_per_s, link.rate_mbit, images)


def _subject(wish: DistillationRequest) -> Subject:
    is_experiment = wish.subject in shipped_experiments() or Path(wish.subject).suffix in (
        ".yaml",
        ".yml",
    )
    return _of_experiment(wish) if is_experiment else _of_model(wish)


def _of_model(wish: DistillationRequest) -> Subject:
    if wish.assignments:
        raise BadExperimentError("--set: only an experiment has fields to replace")
    if wish.pipeline is not None:
        raise BadExperimentError("--pipeline: only an experiment has pipelines")
    checkpoint = _model_or_experiment(wish.subject)
    if wish.after is None:
        raise BadExperimentError("--after: missing; a model alone does not say where it is cut")
    model = load_model(checkpoint)
    dataset = load_dataset(wish.data or DATA, wish.data_folder)
    check_data(model, dataset)
    return Subject(model, dataset, wish.after, wish.link, wish.training.fringe_layers or 1)


def _model_or_experiment(name: str) -> Path:
    """The checkpoint of a name that is no experiment's; an error says that it might have been."""
    try:
        return existing_checkpoint(name)
    except BadExperimentError as error:
        experiments = ", ".join(shipped_experiments())
        raise BadExperimentError(
            f"{error}; nor is there an experiment of that name (there are: {experiments})"
        ) from None


def _of_experiment(wish: DistillationRequest) -> Subject:
    """The link of the cut is the experiment's where the command does not say otherwise."""
    if wish.data is not None:
        raise BadExperimentError("--data: the experiment names its own data set")
    file = find_experiment(Path(wish.subject))
    checked = checked_file(file, list(wish.assignments), splits_alone=True)
    pipeline = _pipeline(checked, wish.pipeline, file)
    plan = plan_pipeline(pipeline, checked.network)
    cuts = plan.partition.cuts
    after = wish.after or (cuts[0] if len(cuts) == 1 else None)
    if after not in cuts:
        asked = "missing" if after is None else f"no cut after '{after}'"
        raise BadExperimentError(f"--after: {asked}; {file.stem} cuts after {', '.join(cuts)}")
    cut = cuts.index(after)
    path = path_between(checked.network, plan.stages[cut].name, plan.stages[cut + 1].name)
    given = wish.link
    link = BudgetLink(
        given.latency_ms,
        given.inferences_per_s,
        bottleneck_mbit(path) if given.rate_mbit is None else given.rate_mbit,
        delay_ms(path) if given.delay_ms is None else given.delay_ms,
        given.frame_images or plan.batch,
    )
    dataset = load_dataset(plan.dataset, wish.data_folder)
    check_data(pipeline.model, dataset)
    fringe_layers = wish.training.fringe_layers or plan.targets.fringe_layers
    return Subject(pipeline.model, dataset, after, link, fringe_layers)


def _pipeline(checked: CheckedExperiment, name: str | None, file: Path) -> CheckedPipeline:
    """The pipeline of that name, or the only one."""
    pipelines = checked.pipelines
    if name is None and len(pipelines) == 1:
        (name,) = pipelines
    if name is None or name not in pipelines:
        asked = "missing" if name is None else f"no pipeline '{name}'"
        raise BadExperimentError(f"--pipeline: {asked}; {file.stem} has {', '.join(pipelines)}")
    return pipelines[name]


def _bars(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        Elapsed(),
        TextColumn("{task.fields[news]}"),
        console=console,
    )


class _Caching:
    """One bar for each set of activations that is computed; those in the cache need none."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, object] = {}

    def show(self, what: str, share: float) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(f"activations of {what}", total=1.0, news="")
        self._bars.update(self._tasks[what], completed=share)  # type: ignore[arg-type]


class _Training:
    """The bar of the training itself."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: object = None

    def show(self, progress: DistillationProgress) -> None:
        if self._task is None:
            self._task = self._bars.add_task("training the fringe", total=1.0, news="")
        news = f"step {progress.step}, loss {progress.loss:.4f}"
        self._bars.update(self._task, completed=min(1.0, progress.done), news=news)  # type: ignore[arg-type]


def _tell(result: Distilled, subject: Subject, out: Path, console: Console) -> None:
    console.print(
        f"validation accuracy {100 * result.validation_accuracy:.2f} %, uncompressed "
        f"{100 * result.uncompressed_validation_accuracy:.2f} %; trained in "
        f"{result.training_minutes:.1f} minutes, {result.memory_mib:.0f} MiB of memory\n"
        f"written: {out}\n"
        "for pipeline.modules of an experiment:",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    line = f"  - {{name: {out.stem}, after: {subject.after}, file: {out.resolve()}}}"
    console.print(line, highlight=False, markup=False, soft_wrap=True)
