"""An experiment, parsed and checked once: the file, and all that checking it has built.

Imports torch only where there is something to check with it: a file of the wrong form is answered
at once.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.errors import BadExperimentError
from testbed.experiment.file import BadFormError, Experiment, Sections, load_experiment
from topologies.networks.spec import NetworkSpec

if TYPE_CHECKING:
    from stage_node.accordion.server.served_file import ServedFile
    from testbed.devices.computing import HostDevice
    from testbed.planning.validation import CheckedPipeline, CheckedSections


@dataclass(frozen=True, eq=False)
class CheckedExperiment:
    """An experiment without mistakes, with its network, devices, split models and served files.

    ``origin`` names the file in messages.
    """

    experiment: Experiment
    origin: str
    network: NetworkSpec
    devices: "Mapping[str, HostDevice]"
    pipelines: "Mapping[str, CheckedPipeline]"
    served: "Mapping[Path, ServedFile]"


def checked_file(
    path: Path, assignments: list[str] | None = None, *, splits_alone: bool = False
) -> CheckedExperiment:
    """Read and check an experiment file, with ``--set key=value`` applied.

    With ``splits_alone`` only network and splits are checked: all that a distillation needs. Raises
    BadExperimentError with one line per mistake, of form and of sense: the sense of a section is
    checked also if another section has a wrong form.
    """
    try:
        experiment = load_experiment(path, assignments)
    except BadFormError as error:
        if error.sound.are_missing:
            raise
        mistakes, _ = _all(_check(error.sound, splits_alone))
        lines = [f"{path}: {mistake}" for mistake in mistakes]
        raise BadExperimentError("\n".join([str(error), *lines])) from error
    return check_experiment(experiment, str(path), splits_alone=splits_alone)


def check_experiment(
    experiment: Experiment, origin: str, *, splits_alone: bool = False
) -> CheckedExperiment:
    """Check the sense of an experiment.

    Raises BadExperimentError with one line per mistake, each begun by ``origin``, the file.
    """
    mistakes, made = _all(_check(experiment.sections, splits_alone))
    if mistakes:
        raise BadExperimentError("\n".join(f"{origin}: {mistake}" for mistake in mistakes))
    assert made.network is not None and made.devices is not None, "without mistakes all is there"
    return CheckedExperiment(
        experiment, origin, made.network, made.devices, made.pipelines, made.served
    )


def _check(sections: Sections, splits_alone: bool) -> "Generator[str, None, CheckedSections]":
    from testbed.planning.validation import checked_sections, checked_splits

    return checked_splits(sections) if splits_alone else checked_sections(sections)


def _all(check: "Generator[str, None, CheckedSections]") -> "tuple[list[str], CheckedSections]":
    """Every mistake of a check, and what it returns."""
    mistakes = []
    while True:
        try:
            mistakes.append(next(check))
        except StopIteration as end:
            made: CheckedSections = end.value
            return mistakes, made
