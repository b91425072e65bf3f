"""The sweep file: one experiment, the values its fields are to take, and how often.

A sweep is the product of its parameters times the repetitions. Each of these cells is a run of
its own. Every cell's experiment passes every check before the first one starts.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, field_validator, model_validator

from controller.accordion.lookup import table_path
from stage_node.repository import REPOSITORY
from testbed.errors import BadExperimentError
from testbed.experiment.file import Experiment, find_experiment
from testbed.experiment.named_models import checkpoint_path
from testbed.experiment.typed_yaml import Section, read_mapping, validated
from testbed.planning.checked import CheckedExperiment, checked_file
from testbed.planning.validation import delivered_models

SHIPPED = REPOSITORY / "testbed" / "sweeps"

Value = Any
"""What YAML can say: a number, a word, or a whole section."""


class SweepFile(Section):
    """A sweep as it stands in its file."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    description: str = ""
    experiment: str = Field(description="file, beside this one, or the name of a shipped one")
    set: dict[str, Value] = Field({}, description="fields replaced in every cell: dotted path")
    parameters: dict[str, Annotated[list[Value], Field(min_length=1)]] = Field(
        min_length=1, description="dotted path to the values that the field is to take"
    )
    repetitions: int = Field(3, ge=1, le=1000, description="runs of each combination")
    figures: tuple[str, ...] = Field(
        (), description="columns of the table to plot, `*` allowed; default: the best known ones"
    )

    @field_validator("parameters")
    @classmethod
    def _each_value_once(cls, parameters: dict[str, list[Value]]) -> dict[str, list[Value]]:
        for field, values in parameters.items():
            for position, value in enumerate(values):
                if value in values[:position]:
                    raise ValueError(f"{field}: {value!r} is given twice")
        return parameters

    @model_validator(mode="after")
    def _set_or_varied(self) -> "SweepFile":
        for field in self.set.keys() & self.parameters.keys():
            raise ValueError(f"set.{field}: is a parameter as well")
        return self


@dataclass(frozen=True)
class Cell:
    """One run of a sweep. ``settings`` is the value of every parameter."""

    settings: Mapping[str, Value]
    repetition: int
    file: Path
    assignments: tuple[str, ...]
    seed: int
    key: str

    def __str__(self) -> str:
        return f"{words(self.settings)}, repetition {self.repetition}"


@dataclass(frozen=True)
class Combination:
    """One value for every parameter, and the experiment that this makes; it has been checked."""

    settings: Mapping[str, Value]
    file: Path
    assignments: tuple[str, ...]
    checked: CheckedExperiment

    @property
    def experiment(self) -> Experiment:
        """The experiment as its file and the settings say."""
        return self.checked.experiment

    @cached_property
    def content(self) -> str:
        """A hash of what it measures: the experiment, and the files that it names, by content.

        Neither name nor description counts, so that both may be mended.
        """
        said = self.experiment.model_dump(mode="json", exclude={"name", "description"})
        files = [_digest(path) for path in named_files(self.experiment)]
        return sha256(json.dumps([said, files], sort_keys=True).encode()).hexdigest()

    def cell(self, repetition: int, place: str) -> Cell:
        """One repetition, with a seed of its own, and a key that changes with whatever would change
        its figures."""
        key = sha256(f"{self.content} {repetition} {place}".encode()).hexdigest()[:16]
        seed = self.experiment.seed + repetition - 1
        return Cell(self.settings, repetition, self.file, self.assignments, seed, key)


@dataclass(frozen=True)
class Sweep:
    """A sweep whose every cell can be run."""

    file: SweepFile
    combinations: tuple[Combination, ...]

    def cells(self, place: str) -> list[Cell]:
        """All cells, the first repetition of every combination before any second one; ``place`` is
        the kind of host and clock that they run on."""
        repetitions = range(1, self.file.repetitions + 1)
        return [
            combination.cell(repetition, place)
            for repetition in repetitions
            for combination in self.combinations
        ]


def words(settings: Mapping[str, Value]) -> str:
    """The values of all parameters in one line."""
    return ", ".join(f"{field}={yaml_words(value)}" for field, value in settings.items())


def yaml_words(value: Value) -> str:
    """A value as one line of YAML."""
    text: str = yaml.safe_dump([value], default_flow_style=True, width=10**9, allow_unicode=True)
    return text.strip()[1:-1]


def shipped_sweeps() -> dict[str, Path]:
    """Name to file of the sweeps that come with Concertina."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}


def find_sweep(file: Path) -> Path:
    """The file itself, or the shipped sweep of that name."""
    if file.exists():
        return file
    if str(file) in shipped_sweeps():
        return shipped_sweeps()[str(file)]
    raise BadExperimentError(
        f"{file}: no such file, and no shipped sweep of that name "
        f"(there are: {', '.join(shipped_sweeps())})"
    )


def load_sweep(path: Path) -> Sweep:
    """Read a sweep file and check all that it would run.

    Raises BadExperimentError with one line per mistake: a mistake that several combinations share
    is reported once, with the first of them.
    """
    file = validated(SweepFile, read_mapping(path), str(path))
    try:
        experiment = _experiment_file(file.experiment, path.parent)
    except BadExperimentError as error:
        raise BadExperimentError(f"{path}: experiment: {error}") from error
    combinations, mistakes = [], dict[str, str]()
    for settings in _product(file.parameters):
        try:
            combinations.append(_combination(file, settings, experiment))
        except BadExperimentError as error:
            for line in str(error).splitlines():
                mistakes.setdefault(line, f"{path}: with {words(settings)}: {line}")
    if mistakes:
        raise BadExperimentError("\n".join(mistakes.values()))
    _check_different(combinations, path)
    return Sweep(file, tuple(combinations))


def named_files(experiment: Experiment) -> Iterator[Path]:
    """The files that an experiment's figures depend on: models, modules, traces, in order."""
    for section in experiment.split_models.values():
        yield checkpoint_path(section.model)
        yield from (Path(module.file) for module in section.modules)
    if experiment.accordion is not None:
        for model in map(checkpoint_path, delivered_models(experiment.accordion)):
            yield model
            yield table_path(model)
    yield from _traces(experiment.network.model_dump())


def _traces(part: Any) -> Iterator[Path]:
    """Trace files, wherever in the network they stand."""
    children = part.values() if isinstance(part, dict) else part if _is_list(part) else ()
    if isinstance(part, dict) and isinstance(part.get("file"), Path):
        yield part["file"]
    for child in children:
        yield from _traces(child)


def _is_list(part: Any) -> bool:
    return isinstance(part, list | tuple)


def _digest(path: Path) -> str | None:
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _experiment_file(name: str, folder: Path) -> Path:
    beside = folder / name
    return (beside if beside.is_file() else find_experiment(Path(name))).resolve()


def _product(parameters: Mapping[str, list[Value]]) -> Iterator[dict[str, Value]]:
    for values in itertools.product(*parameters.values()):
        yield dict(zip(parameters, values, strict=True))


def _combination(file: SweepFile, settings: Mapping[str, Value], path: Path) -> Combination:
    fields = {**file.set, **settings}
    assignments = tuple(f"{field}={yaml_words(value)}" for field, value in fields.items())
    return Combination(settings, path, assignments, checked_file(path, list(assignments)))


def _check_different(combinations: list[Combination], path: Path) -> None:
    """Two combinations that make the same experiment are a mistake: a parameter has no effect."""
    seen: dict[str, Combination] = {}
    for combination in combinations:
        twin = seen.setdefault(combination.content, combination)
        if twin is not combination:
            raise BadExperimentError(
                f"{path}: parameters: {words(twin.settings)} and {words(combination.settings)} "
                "make the same experiment"
            )
