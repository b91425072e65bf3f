"""Under what conditions runs were made, and where these differ."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from analysis.metrics.measure import Measured
from analysis.run.reader import Run
from analysis.wording import counted
from stage_node.records.events import LinkChanged, LinkCommanded

NONE = "none"
EXPERIMENT = "experiment: "
"""Begins the names of the conditions that are fields of the experiment."""
_SHAPES = frozenset(
    {"rate_mbit", "delay_ms", "jitter_ms", "loss_percent", "buffer_bdp", "profile", "description"}
)
"""Fields of the experiment's links that are compared as they were built, in ``network.json``."""


@dataclass(frozen=True)
class Condition:
    """One condition and what it was in each column, in words."""

    name: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Return True if the columns were made under different conditions."""
        return len(set(self.values)) > 1


def conditions(columns: Sequence[Sequence[Measured]]) -> tuple[Condition, ...]:
    """Every condition that is known of the runs of any column, in the order of the first.

    The seed, host and clock, the code, the machine; the changes of the links,
    whatever made them; the fields of the experiments, but for links as they were built.
    """
    known = [[_of_run(measured.run) for measured in runs] for runs in columns]
    names = dict.fromkeys(name for runs in known for run in runs for name in run)
    return tuple(
        Condition(
            name,
            tuple(", ".join(dict.fromkeys(run.get(name, NONE) for run in runs)) for runs in known),
        )
        for name in names
    )


def _of_run(run: Run) -> Mapping[str, str]:
    manifest = run.manifest
    code, kernel, machine = manifest.code, manifest.guest_kernel, manifest.outer_machine
    commit = (code.git_commit or "unknown")[:12]
    made = {
        "kind of host": manifest.host,
        "clock": run.fidelity.clock + (f", pace {manifest.pace}" if manifest.pace else ""),
        "seed": str(manifest.seed),
        "code": commit + (", with changes that are not committed" if code.git_dirty else ""),
        "guest kernel": kernel.version if kernel else NONE,
        "machine": f"{machine.cpu_model}, {machine.cpus} CPUs",
        "link set commands": _commands(run) or NONE,
    }
    return made | dict(_applied(run)) | dict(_experiment(run))


def _commands(run: Run) -> str:
    """Commands that changed links while the run went on, with their times, s."""
    said = [
        f"{command.said} at {(command.t_ns - run.begin_ns) / 1e9:.1f} s"
        + (" (refused)" if command.refusal else "")
        for command in run.events_of(LinkCommanded)
    ]
    return "; ".join(said)


def _applied(run: Run) -> Iterator[tuple[str, str]]:
    """Changes of each direction: trace, script or command, as the kernel confirmed them."""
    changes: dict[str, list[LinkChanged]] = {}
    for change in run.events_of(LinkChanged):
        changes.setdefault(f"changes of link {change.link} {change.direction}", []).append(change)
    for name, mine in changes.items():
        rates = [change.rate_mbit for change in mine]
        steps = repr([(each.rate_mbit, each.delay_ms, each.loss_percent) for each in mine])
        digest = hashlib.sha256(steps.encode()).hexdigest()[:8]
        span = f"{min(rates):g} to {max(rates):g} Mbit/s"
        yield name, f"{counted(len(mine), 'change')}, {span}, sequence {digest}"


def _experiment(run: Run) -> Iterator[tuple[str, str]]:
    experiment = yaml.safe_load(run.experiment) or {}
    for path, value in _leaves(experiment, ()):
        if path[0] not in ("seed", "clock", "description") and not _is_shape(path):
            yield EXPERIMENT + ".".join(path), str(value)


def _is_shape(path: tuple[str, ...]) -> bool:
    if path[0] != "network" or "changes" in path or "trace" in path[:-1]:
        return False
    return path[-1] in _SHAPES


def _leaves(part: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every field of an experiment that says something, by its path."""
    if isinstance(part, dict):
        for name, value in part.items():
            yield from _leaves(value, (*path, str(name)))
    elif isinstance(part, list) and any(isinstance(each, dict) for each in part):
        for index, value in enumerate(part):
            yield from _leaves(value, (*path, str(index)))
    elif part not in (None, [], {}):
        yield path, part
