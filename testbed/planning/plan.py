"""The plan of a run: plain data, made outside the host, carried out inside."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from stage_node.processes.configuration import ProcessConfiguration
from stage_node.records.vocabulary import ClockKind
from topologies.networks.spec import NetworkSpec


class Job(BaseModel):
    """One process: its entry point (``module:function``), the emulated host, its configuration's
    fields as JSON values (``arguments``): the emulation that carries the plan out need not import
    the process.

    A ``service`` is started first, says when it listens, and is ended when the other jobs of its
    phase are done; the others end by themselves, and a failure of one fails the run.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    host: str
    entry: str
    arguments: dict[str, Any]
    service: bool = False

    @classmethod
    def of(
        cls, name: str, host: str, configuration: ProcessConfiguration, service: bool = False
    ) -> Self:
        """Make the job of the process that takes a configuration."""
        return cls(
            name=name,
            host=host,
            entry=configuration.entry(),
            arguments=configuration.model_dump(mode="json"),
            service=service,
        )


class PlannedPhase(BaseModel):
    """Jobs that run together. ``controlled``: links' traces begin when the controller says so
    (``ControlBegins``), else with the phase."""

    model_config = ConfigDict(frozen=True)

    name: str
    jobs: tuple[Job, ...]
    controlled: bool = False


class RunPlan(BaseModel):
    """A network, and one phase after the other on it, all paths relative to the run directory.

    From ``seed`` come all random numbers of the run. ``pace`` bounds a virtual clock (see
    ``VirtualClock``): without it no user could meet a moment of the run.
    """

    model_config = ConfigDict(frozen=True)

    clock: ClockKind = "real"
    pace: float | None = None
    seed: int = 1
    network: NetworkSpec
    phases: tuple[PlannedPhase, ...]

    @property
    def links_can_be_changed(self) -> bool:
        """Return True if a user may change links during the run."""
        return self.clock == "real" or self.pace is not None

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules that the zygote imports once, so that no process of the run imports it again."""
        entries = [job.entry for phase in self.phases for job in phase.jobs]
        return tuple(dict.fromkeys(entry.partition(":")[0] for entry in entries))
