"""The experiment file: its schema and how it is read.

An experiment is YAML. Every number has its unit in its name. Nothing is started, and nothing
written, before the whole file is known to be good: its form (unknown fields, types, ranges), which
is checked here, and its sense (profiles, hosts, layers, checkpoints that must exist), which
testbed.planning.checked checks, also of those sections that are sound beside one of a wrong form.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from controller.fringe.targets import AutomaticControl, FringeTargets, check_goal
from controller.ladder.ladder import ModuleFile
from stage_node.accordion.needs import AdmissionName, Step
from stage_node.accordion.server.faults import Fault
from stage_node.records.events import LONE_PIPELINE
from stage_node.records.vocabulary import ClockKind
from stage_node.repository import REPOSITORY
from testbed.errors import BadExperimentError
from testbed.experiment.assignment import assign
from testbed.experiment.device_section import Devices
from testbed.experiment.files import anchored_reference, find_file
from testbed.experiment.network_section import LinkValues, Network, TraceFile, listed_hosts
from testbed.experiment.typed_yaml import Section, read_mapping, validated

SHIPPED = REPOSITORY / "testbed" / "experiments"
CHECKPOINTS = REPOSITORY / "testbed" / "checkpoints"


SPLITS = "give auto, or one of stages (a number), after (layer names), layers (a number for each)"


class SplitSection(Section):
    """The split of the model; in a file, bare ``auto`` stands for ``{auto: true}``."""

    stages: int | None = Field(None, ge=2, description="balanced over N by compute")
    after: list[str] | None = Field(None, min_length=1, description="layers to cut after")
    layers: list[int] | None = Field(None, min_length=2, description="how many for each host")
    auto: Literal[True] | None = Field(
        None, description="measured compute and the links decide; see pipeline.speeds"
    )

    @model_validator(mode="before")
    @classmethod
    def _auto_alone(cls, value: object) -> object:
        if isinstance(value, str) and value != "auto":
            raise ValueError(SPLITS)
        return {"auto": True} if value == "auto" else value

    @model_validator(mode="after")
    def _exactly_one(self) -> "SplitSection":
        given = [getattr(self, name) is not None for name in SplitSection.model_fields]
        if sum(given) != 1:
            raise ValueError(SPLITS)
        return self


class PipelineSection(Section):
    """A model split over hosts, and the optimisation loop over its cuts."""

    model: str = Field(description="a shipped checkpoint's name or the path of one")
    dataset: str = "digits"
    hosts: list[str] = Field(min_length=2, description="one per stage, in order")
    split: SplitSection
    speeds: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {},
        description="of hosts, relative to this machine (1): a model that `split: auto` reckons "
        "with, by default the speed of the host's device and its network.cpu_share; it makes no "
        "host slower, those do",
    )
    batch: int = Field(16, ge=1, le=1024, description="images per frame")
    window: int = Field(4, ge=1, le=1024, description="frames in flight")
    calibration_images: int = Field(512, ge=2, description="train images for the PCA of each cut")
    validation_images: int = Field(
        1000, ge=1, description="validation images that every decision is taken on, at most"
    )
    measured_images: int = Field(
        300, ge=1, description="test images for the figures before and after"
    )
    targets: FringeTargets
    control: AutomaticControl | None = Field(
        None, description="serve under automatic control instead of running the loop"
    )
    modules: tuple[ModuleFile, ...] = Field(
        (), description="distilled bottlenecks for the mechanism `distill`"
    )

    @model_validator(mode="after")
    def _speeds_are_asked_for(self) -> "PipelineSection":
        if self.speeds and not self.split.auto:
            raise ValueError("speeds: only `split: auto` reckons with them")
        return self

    @model_validator(mode="after")
    def _has_something_to_reach(self) -> "PipelineSection":
        check_goal(self.targets, self.control)
        return self


class DownloadSection(Section):
    """The requests of one UE, step by step."""

    ue: str
    model: str | None = Field(None, description="another than the section's")
    dataset: str | None = Field(None, description="what that is run on, if not the section's")
    steps: list[Step] = Field(min_length=1)
    repeat: int = Field(
        1, ge=1, le=10_000, description="all steps so often, each time from no model at all"
    )


class AccordionSection(Section):
    """Prefix-runnable models delivered to UEs by one server."""

    model: str = Field(
        description="a shipped checkpoint's name or the path of one, for downloads that name none"
    )
    dataset: str = "digits"
    server: str
    admission: AdmissionName = Field(
        "lookup",
        description="of steps that do not say: by look-up table and estimate (`lookup`), or whole "
        "blocks until the deadline (`stream`)",
    )
    initial_window: Literal["default", "path"] = Field(
        "default",
        description="of TCP: ten segments, or the path's, which the server paces to its rate and "
        "the UE offers at once",
    )
    faults: list[Fault] = Field(
        [], description="harm done on purpose: `{cut_at_byte: 50000}`, `{flip_byte: 9000, ue: ue1}`"
    )
    measured_images: int = Field(
        300, ge=1, description="test images that a UE runs each configuration on"
    )
    downloads: list[DownloadSection] = Field(min_length=1)


NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,23}")


class Experiment(Section):
    """One experiment: a network, and split models or an Accordion delivery on it, or both."""

    name: str = Field(min_length=1, max_length=64)
    description: str = ""
    clock: ClockKind | None = Field(
        None,
        description="of the microVM: `virtual` stands still while anybody computes, so that "
        "nothing else on the machine disturbs a figure; `real`; default: virtual where possible",
    )
    seed: int = Field(
        1,
        ge=0,
        lt=2**64,
        description="of all random numbers: the same seed gives the same captures on the virtual "
        "clock, another one another sample",
    )
    network: Network
    devices: Devices | None = Field(
        None,
        description="what hosts stand for where computing is charged: `concertina devices`; all "
        "server cores if left out",
    )
    pipeline: PipelineSection | None = None
    pipelines: dict[str, PipelineSection] | None = Field(
        None, min_length=1, description="by name: split models that serve at the same time"
    )
    accordion: AccordionSection | None = None
    together: bool = Field(
        False, description="split models and delivery at the same time, not one after the other"
    )

    @field_validator("pipelines")
    @classmethod
    def _named(
        cls, pipelines: dict[str, PipelineSection] | None
    ) -> dict[str, PipelineSection] | None:
        for name in pipelines or ():
            if name == LONE_PIPELINE:
                raise ValueError(f"{name!r} is the name of the one that stands alone; use another")
            if not NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} is no name: letters, digits, - and _, a letter first, at most 24"
                )
        return pipelines

    @model_validator(mode="after")
    def _does_something(self) -> "Experiment":
        if self.pipeline is not None and self.pipelines is not None:
            raise ValueError("pipeline and pipelines are both there: give one of them")
        if not self.split_models and self.accordion is None:
            raise ValueError("needs a pipeline or an accordion section")
        if self.together and not (self.split_models and self.accordion):
            raise ValueError("together: needs a pipeline and an accordion section")
        return self

    @property
    def split_models(self) -> dict[str, PipelineSection]:
        """Every pipeline by its name; the one that stands alone is called ``pipeline``."""
        return self.sections.split_models

    @property
    def sections(self) -> "Sections":
        """The sections whose sense is checked."""
        return Sections.of(dict(self), self.network.model_dump())


@dataclass(frozen=True)
class Sections:
    """The sections of a file whose form is sound; None for a network that is not.

    ``hosts`` are the network's as far as its section lists them, right or wrong otherwise.
    """

    network: Network | None
    hosts: tuple[str, ...]
    devices: Devices | None
    split_models: dict[str, PipelineSection]
    accordion: AccordionSection | None
    together: bool

    @property
    def are_missing(self) -> bool:
        """Return True if there is no section whose sense could be checked."""
        return not (self.network or self.devices or self.split_models or self.accordion)

    @classmethod
    def of(cls, fields: Mapping[str, Any], network: object) -> "Sections":
        """Take the typed fields of an experiment; those that are missing have mistakes.

        ``network`` is that section as it is written.
        """
        lone = fields.get("pipeline")
        return cls(
            network=fields.get("network"),
            hosts=listed_hosts(network),
            devices=fields.get("devices"),
            split_models={LONE_PIPELINE: lone} if lone else fields.get("pipelines") or {},
            accordion=fields.get("accordion"),
            together=fields.get("together", False),
        )


class BadFormError(BadExperimentError):
    """An experiment file has mistakes of form; ``sound`` holds the sections that have none."""

    def __init__(self, message: str, sound: Sections) -> None:
        super().__init__(message)
        self.sound = sound


def pipeline_field(name: str) -> str:
    """Path of a pipeline of this name in the file."""
    return name if name == LONE_PIPELINE else f"pipelines.{name}"


def load_experiment(path: Path, assignments: list[str] | None = None) -> Experiment:
    """Read and validate an experiment file, with ``--set key=value`` applied.

    Raises BadFormError with one line per mistake.
    """
    raw = read_mapping(path)
    for assignment in assignments or []:
        assign(raw, assignment)
    experiment = validate_experiment(raw, str(path), path.parent)
    return experiment.model_copy(update=_anchored(dict(experiment), path.parent))


def validate_experiment(raw: dict[str, Any], origin: str, folder: Path | None = None) -> Experiment:
    """Type the fields of a parsed file; ``origin`` names it in error messages.

    Raises BadFormError, the paths in whose sound sections are sought from ``folder`` first.
    """
    try:
        return validated(Experiment, raw, origin)
    except BadExperimentError as error:
        sound = _sound_fields(raw)
        if folder is not None:
            sound |= _anchored(sound, folder)
        raise BadFormError(str(error), Sections.of(sound, raw.get("network"))) from error


def _sound_fields(raw: dict[str, Any]) -> dict[str, Any]:
    """The fields that have no mistake of form, each by itself; of pipelines, each by its name."""
    sound = {}
    for name, field in Experiment.model_fields.items():
        if raw.get(name) is None:
            continue
        if name == "pipelines" and isinstance(raw[name], dict):
            typed = {each: _typed(PipelineSection, part) for each, part in raw[name].items()}
            sound[name] = {each: part for each, part in typed.items() if part is not None}
        else:
            sound[name] = _typed(field.annotation, raw[name])
    return sound


def _typed(kind: Any, value: object) -> Any:
    """The value as that type; None if it has mistakes."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return None


def shipped_experiments() -> dict[str, Path]:
    """Name to file of the experiments that come with Concertina."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}


def find_experiment(file: Path) -> Path:
    """The file itself, or the shipped experiment of that name."""
    if file.exists():
        return file
    shipped = shipped_experiments()
    if str(file) in shipped:
        return shipped[str(file)]
    raise BadExperimentError(
        f"{file}: no such file, and no shipped experiment of that name "
        f"(there are: {', '.join(shipped)})"
    )


def _anchored(fields: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the sections with absolute paths, which can be run from any directory."""
    changed: dict[str, Any] = {}
    if (network := fields.get("network")) is not None:
        changed["network"] = _files_anchored(network, folder)
    if (devices := fields.get("devices")) is not None:
        changed["devices"] = {host: choice.anchored(folder) for host, choice in devices.items()}
    if (lone := fields.get("pipeline")) is not None:
        changed["pipeline"] = _pipeline_anchored(lone, folder)
    if (pipelines := fields.get("pipelines")) is not None:
        changed["pipelines"] = {
            name: _pipeline_anchored(section, folder) for name, section in pipelines.items()
        }
    if (accordion := fields.get("accordion")) is not None:
        section = _model_anchored(accordion, folder)
        downloads = [_model_anchored(each, folder) for each in section.downloads]
        changed["accordion"] = section.model_copy(update={"downloads": downloads})
    return changed


def _pipeline_anchored(section: PipelineSection, folder: Path) -> PipelineSection:
    modules = tuple(
        module.model_copy(update={"file": str(find_file(module.file, folder))})
        for module in section.modules
    )
    return _model_anchored(section, folder).model_copy(update={"modules": modules})


SectionT = TypeVar("SectionT", PipelineSection, AccordionSection, DownloadSection)


def _model_anchored(section: SectionT, folder: Path) -> SectionT:
    """A model that is a file is named by its absolute path."""
    model = find_file(section.model, folder) if section.model else None
    if model is None or not model.is_file():
        return section
    return section.model_copy(update={"model": str(model)})


def _files_anchored(part: Any, folder: Path) -> Any:
    """A part of the network section whose files, wherever they are named, are absolute."""
    match part:
        case TraceFile():
            return part.model_copy(update={"file": find_file(str(part.file), folder)})
        case Section():
            fields = {name: getattr(part, name) for name in type(part).model_fields}
            anchored = {name: _files_anchored(value, folder) for name, value in fields.items()}
            if isinstance(part, LinkValues) and part.profile:
                anchored["profile"] = anchored_reference(part.profile, folder)
            return part.model_copy(update=anchored)
        case list():
            return [_files_anchored(each, folder) for each in part]
        case dict():
            return {name: _files_anchored(each, folder) for name, each in part.items()}
    return part
