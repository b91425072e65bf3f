"""The experiment file: its schema, and one clear line for every mistake in it.

An experiment is YAML. Every number has its unit in its name. Nothing is started, and nothing
written, before the whole file is known to be good: first its form (unknown fields, types,
ranges), then its sense (profiles, hosts, layers, checkpoints that must exist).
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from controller.ladder import ModuleFile
from controller.targets import AutomaticControl, FringeTargets, check_goal
from stage_node.faults import Fault
from stage_node.steps import AdmissionName, Step
from testbed.errors import BadExperimentError
from testbed.files import find_file
from topologies.generators import Pattern
from topologies.profiles import split_reference
from topologies.traces import BIN_MS

SHIPPED = Path(__file__).parent / "experiments"
CHECKPOINTS = Path(__file__).parent / "checkpoints"


class Section(BaseModel):
    """A part of the experiment file; unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


FileT = TypeVar("FileT", bound=Section)


class GeneratedTrace(Section):
    """A trace made by topologies.generators; it repeats after ``duration_s``."""

    generate: Pattern
    seed: int = 1
    duration_s: float = Field(60.0, gt=0, le=86_400)
    peak_mbit: float | None = Field(None, gt=0, description="best rate; default: the link's own")


class TraceFile(Section):
    """A trace read from a file: CSV, or mahimahi's packet deliveries counted in bins."""

    file: Path
    bin_ms: int = Field(BIN_MS, ge=10, le=60_000)


def _file_alone(value: object) -> object:
    return {"file": value} if isinstance(value, str) else value


def _read_or_made(value: object) -> str:
    given = value if isinstance(value, dict) else vars(value) if value is not None else {}
    return "<made>" if "generate" in given else "<read>"


TraceChoice = Annotated[
    Annotated[GeneratedTrace, Tag("<made>")] | Annotated[TraceFile, Tag("<read>")],
    Discriminator(_read_or_made),
    BeforeValidator(_file_alone),
]


class LinkOverrides(Section):
    """Values that replace those of a profile, in one direction or in both; and what varies them."""

    rate_mbit: float | None = Field(None, gt=0, description="bottleneck rate")
    delay_ms: float | None = Field(None, ge=0, description="one-way delay")
    jitter_ms: float | None = Field(None, ge=0, description="standard deviation of the delay")
    loss_percent: float | None = Field(None, ge=0, lt=100, description="random packet loss")
    buffer_bdp: float | None = Field(
        None, gt=0, description="droptail buffer in bandwidth-delay products"
    )
    trace: TraceChoice | None = Field(
        None, description="a file, or {generate: lte | starlink | outages, seed, duration_s}"
    )

    def given(self) -> dict[str, float]:
        """The values that are set."""
        names = ("rate_mbit", "delay_ms", "jitter_ms", "loss_percent", "buffer_bdp")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


class LinkChoice(LinkOverrides):
    """A catalogue profile, values of one's own, or a profile with some values replaced.

    In a file, a bare name stands for the profile of that name. ``up`` is the direction away
    from the user (towards the cloud, or to the next device of a chain), ``down`` the other.
    """

    profile: str | None = Field(None, description="name in the catalogue: `concertina profiles`")
    up: LinkOverrides = LinkOverrides()
    down: LinkOverrides = LinkOverrides()

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return {"profile": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _says_something(self) -> "LinkChoice":
        for direction in (self.up, self.down):
            both = self.given() | direction.given()
            if self.profile is None and not {"rate_mbit", "delay_ms"} <= both.keys():
                raise ValueError("needs a profile, or at least rate_mbit and delay_ms")
        return self


def _one_or_each(value: object) -> str:
    return "<each>" if isinstance(value, list) or _maps_hosts(value) else "<one>"


def _maps_hosts(value: object) -> bool:
    """Whether a mapping is of links by host, rather than one link's own fields."""
    return isinstance(value, dict) and bool(value) and not value.keys() & LinkChoice.model_fields


ChainLinks = Annotated[
    Annotated[LinkChoice, Tag("<one>")] | Annotated[list[LinkChoice], Tag("<each>")],
    Discriminator(_one_or_each),
]
StarLinks = Annotated[
    Annotated[LinkChoice, Tag("<one>")] | Annotated[dict[str, LinkChoice], Tag("<each>")],
    Discriminator(_one_or_each),
]


class LinkChange(Section):
    """A change of one link while the run goes on; what it does not name stays as it is."""

    at_s: float = Field(ge=0, description="since the traces of the phase begin")
    link: str = Field(description="`<a>-<b>`, or `access` or `backhaul`")
    direction: Literal["up", "down"] | None = Field(None, description="default: both")
    rate_mbit: float | None = Field(None, gt=0)
    delay_ms: float | None = Field(None, ge=0)
    loss_percent: float | None = Field(None, ge=0, lt=100)

    def given(self) -> dict[str, float]:
        """The values that are set."""
        names = ("rate_mbit", "delay_ms", "loss_percent")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @model_validator(mode="after")
    def _changes_something(self) -> "LinkChange":
        if not self.given():
            raise ValueError("nothing to change: give rate_mbit, delay_ms or loss_percent")
        return self


class NetworkSection(Section):
    """Fields that every shape has."""

    shaper: Literal["netem", "tclink"] = Field(
        "netem", description="netem rate+delay, or Mininet's own HTB-then-netem for comparison"
    )
    changes: tuple[LinkChange, ...] = Field(
        (), description="scripted changes: `{at_s: 10, link: access, rate_mbit: 1}`"
    )


class ChainNetwork(NetworkSection):
    """Devices joined one to the next by direct links, no switch."""

    shape: Literal["chain"]
    hosts: list[str] = Field(min_length=2)
    links: ChainLinks = Field(description="one for all, or one per hop")

    @model_validator(mode="after")
    def _one_per_hop(self) -> "ChainNetwork":
        if isinstance(self.links, list) and len(self.links) != len(self.hosts) - 1:
            raise ValueError(
                f"links: a chain of {len(self.hosts)} hosts has {len(self.hosts) - 1} links, "
                f"{len(self.links)} given"
            )
        return self


class StarNetwork(NetworkSection):
    """Devices around one switch."""

    shape: Literal["star"]
    hosts: list[str] = Field(min_length=2)
    links: StarLinks = Field(description="one for all, or one per host")

    @model_validator(mode="after")
    def _one_per_host(self) -> "StarNetwork":
        if isinstance(self.links, dict) and set(self.links) != set(self.hosts):
            raise ValueError(f"links: expected one per host ({', '.join(self.hosts)})")
        return self


class EdgeCloudNetwork(NetworkSection):
    """UEs behind one access link to an edge server, then a backhaul to the cloud."""

    shape: Literal["edge-cloud"]
    ues: list[str] = Field(["ue1"], min_length=1)
    access: LinkChoice
    backhaul: LinkChoice


Network = Annotated[ChainNetwork | StarNetwork | EdgeCloudNetwork, Field(discriminator="shape")]


SPLITS = "give auto, or one of stages (a number), after (layer names), layers (a number for each)"


class SplitSection(Section):
    """How the model is split; in a file, bare ``auto`` stands for ``{auto: true}``."""

    stages: int | None = Field(None, ge=2, description="balanced over so many by compute")
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
        "with; it makes no host slower",
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


class Download(Section):
    """What one UE asks for, step by step."""

    ue: str
    steps: list[Step] = Field(min_length=1)
    repeat: int = Field(
        1, ge=1, le=10_000, description="all steps so often, each time from no model at all"
    )


class AccordionSection(Section):
    """A prefix-runnable model delivered to UEs."""

    model: str = Field(description="a shipped checkpoint's name or the path of one")
    dataset: str = "digits"
    server: str
    admission: AdmissionName = Field(
        "lookup",
        description="of steps that do not say: by look-up table and estimate (`lookup`), or whole "
        "blocks until the deadline (`stream`)",
    )
    initial_window: Literal["default", "path"] = Field(
        "default", description="TCP's initial window at the server: ten segments, or the path's"
    )
    faults: list[Fault] = Field(
        [], description="harm done on purpose: `{cut_at_byte: 50000}`, `{flip_byte: 9000, ue: ue1}`"
    )
    downloads: list[Download] = Field(min_length=1)


class Experiment(Section):
    """One experiment: a network, and a split model or an Accordion delivery on it, or both."""

    name: str = Field(min_length=1, max_length=64)
    description: str = ""
    network: Network
    pipeline: PipelineSection | None = None
    accordion: AccordionSection | None = None

    @model_validator(mode="after")
    def _does_something(self) -> "Experiment":
        if self.pipeline is None and self.accordion is None:
            raise ValueError("needs a pipeline or an accordion section")
        return self


def load_experiment(path: Path, assignments: list[str] | None = None) -> Experiment:
    """Read and validate an experiment file, with ``--set key=value`` applied.

    Raises BadExperimentError with one line per mistake.
    """
    raw = read_mapping(path)
    for assignment in assignments or []:
        _assign(raw, assignment)
    return _anchored(validate_experiment(raw, str(path)), path.parent)


def read_mapping(path: Path) -> dict[str, Any]:
    """The fields of a YAML file, none of them given twice."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadExperimentError(f"{path}: cannot be read: {_first_line(error)}") from error
    if not isinstance(raw, dict):
        raise BadExperimentError(f"{path}: expected a mapping of fields")
    return raw


def validate_experiment(raw: dict[str, Any], origin: str) -> Experiment:
    """The typed experiment of a parsed file; ``origin`` names it in error messages."""
    return validated(Experiment, raw, origin)


def validated(kind: type[FileT], raw: dict[str, Any], origin: str) -> FileT:
    """What a parsed file says, typed; BadExperimentError with one line per mistake."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        lines = [f"{origin}: {line}" for line in _explain(error, kind)]
        raise BadExperimentError("\n".join(lines)) from error


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


def _anchored(experiment: Experiment, folder: Path) -> Experiment:
    """The same with absolute paths, so that it means the same from wherever it is run again."""
    changed: dict[str, Any] = {"network": _files_anchored(experiment.network, folder)}
    for name in ("pipeline", "accordion"):
        section = getattr(experiment, name)
        if section is None:
            continue
        model = find_file(section.model, folder)
        update: dict[str, Any] = {"model": str(model)} if model.is_file() else {}
        if isinstance(section, PipelineSection):
            update["modules"] = tuple(
                module.model_copy(update={"file": str(find_file(module.file, folder))})
                for module in section.modules
            )
        changed[name] = section.model_copy(update=update)
    return experiment.model_copy(update=changed)


def _files_anchored(part: Any, folder: Path) -> Any:
    """A part of the network section whose files, wherever they are named, are absolute."""
    match part:
        case TraceFile():
            return part.model_copy(update={"file": find_file(str(part.file), folder)})
        case Section():
            fields = {name: getattr(part, name) for name in type(part).model_fields}
            anchored = {name: _files_anchored(value, folder) for name, value in fields.items()}
            if isinstance(part, LinkChoice) and part.profile:
                anchored["profile"] = _profile_anchored(part.profile, folder)
            return part.model_copy(update=anchored)
        case list():
            return [_files_anchored(each, folder) for each in part]
        case dict():
            return {name: _files_anchored(each, folder) for name, each in part.items()}
    return part


def _profile_anchored(reference: str, folder: Path) -> str:
    file, name = split_reference(reference)
    return f"{find_file(str(file), folder)}:{name}" if file else reference


class _UniqueKeys(yaml.SafeLoader):
    """YAML that refuses a key given twice, of which the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} is given twice", node.value[position][0].start_mark
                )
        return super().construct_mapping(node, deep)


def _assign(raw: dict[str, Any], assignment: str) -> None:
    """Apply one ``a.b.0.c=value`` to a parsed file; the value is YAML.

    A link that is a bare profile name becomes that profile with the field replaced.
    """
    key, sign, text = assignment.partition("=")
    if not sign or not key:
        raise BadExperimentError(f"--set {assignment}: expected key=value")
    *parents, last = key.split(".")
    place: Any = raw
    try:
        for part, following in zip(parents, [*parents, last][1:], strict=True):
            child = place.get(part, {}) if isinstance(place, dict) else place[int(part)]
            if isinstance(child, str) and following in LinkChoice.model_fields:
                child = {"profile": child}
            _put(place, part, child)
            place = child
        _put(place, last, yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise BadExperimentError(f"--set {assignment}: {_first_line(error)}") from error
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        raise BadExperimentError(f"--set {assignment}: there is no such field") from error


def _put(place: Any, part: str, value: Any) -> None:
    if isinstance(place, dict):
        place[part] = value
    else:
        place[int(part)] = value


def _explain(error: ValidationError, kind: type[Section]) -> list[str]:
    """One line per mistake: the field's path, then what was expected."""
    lines = []
    for mistake in error.errors():
        path = _field_path(mistake["loc"])
        where = ".".join(path) or "the file"
        lines.append(f"{where}: {_reason(mistake, path, kind)}")
    return list(dict.fromkeys(lines))


_TAGS = ("<one>", "<each>", "<made>", "<read>")


def _field_path(location: tuple[int | str, ...]) -> list[str]:
    """The field as it stands in the file: without pydantic's own steps into its unions."""
    steps = [str(step) for step in location]
    if steps[:1] == ["network"]:
        del steps[1:2]  # the shape
    return [step for step in steps if step not in _TAGS]


def _reason(mistake: Any, path: list[str], kind: type[Section]) -> str:
    mistaken = mistake["type"]
    if mistaken == "extra_forbidden":
        return f"unknown field{_suggestion(path[-1], path[0], kind)}"
    if mistaken == "missing":
        return "missing"
    message = mistake["msg"].removeprefix("Value error, ")
    given = mistake.get("input")
    shown = f", got {given!r}" if isinstance(given, str | int | float | bool) else ""
    return f"{message[0].lower()}{message[1:]}{shown}"


def _suggestion(name: str, section: str, kind: type[Section]) -> str:
    """``did you mean``: a field of that section with a unit, or one spelled alike."""
    known = sorted(_field_names(section, kind))
    with_unit = [field for field in known if field.startswith(f"{name}_")]
    close = with_unit or difflib.get_close_matches(name, known, n=1)
    if not close:
        return ""
    unit = " (every number has its unit in its name)" if with_unit else ""
    return f"; did you mean {' or '.join(close)}?{unit}"


def _field_names(section: str, kind: type[Section]) -> set[str]:
    """Every field name of a section of the file, nested ones included; of the top for a typo."""
    field = kind.model_fields.get(section)
    if field is None or field.annotation is None:
        return set(kind.model_fields)
    schema = TypeAdapter(field.annotation).json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return {name for part in parts for name in part.get("properties", {})}


def _first_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    if mark is not None and problem:
        return f"line {mark.line + 1}: {problem}"
    return str(error).splitlines()[0]
