"""``concertina link``: finds the run, parses the request, sends it, returns the answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from stage_node.records.events import LinkChanged, read_events
from stage_node.records.link_request import LinkRequest
from stage_node.records.run_directory import RunDirectory
from stage_node.records.vocabulary import DIRECTIONS
from testbed.errors import BadExperimentError
from testbed.experiment.assignment import assign
from testbed.experiment.network_section import LinkSetting, Network
from testbed.experiment.networks import link_name
from testbed.experiment.typed_yaml import read_mapping, validated
from testbed.planning.plan import RunPlan
from testbed.run.link_requests import ask
from testbed.run.running_lock import goes_on
from topologies.links.profiles import DirectionProfile, load_profile
from topologies.networks.spec import NetworkSpec, direction_of

COMMAND = "link set"


@dataclass(frozen=True)
class LinkState:
    """One direction of a link as it is now."""

    link: str
    direction: str  # "up" or "down"
    source: str
    target: str
    rate_mbit: float
    delay_ms: float
    loss_percent: float


def change_link(directory: Path | None, name: str, assignments: list[str], timeout_s: float) -> str:
    """Have a running experiment change one of its links; what it is then, in words.

    Raises BadExperimentError where the request makes no sense, is refused, or no such run goes
    on; NoAnswerError.
    """
    setting = read_setting(assignments)
    run = find_run(directory)
    plan = RunPlan.model_validate_json(run.plan.read_text())
    if not plan.links_can_be_changed:
        raise BadExperimentError(
            f"{COMMAND}: the run keeps its own time, and may be over before you have looked; start "
            "it with --pace 1 to change its links while it runs"
        )
    section, spec = _network_of(run)
    link = spec.link(link_name(section, spec, name))
    request = LinkRequest(
        link=link.name,
        up=values_of(setting, "up"),
        down=values_of(setting, "down"),
        said=" ".join([name, *assignments]),
    )
    answer = ask(run, request, timeout_s)
    if answer.refusal is not None:
        raise BadExperimentError(f"{COMMAND}: {answer.refusal}")
    now = [state for state in current_links(run.path) if state.link == link.name]
    return "\n".join(
        f"{state.source} to {state.target}: {state.rate_mbit:g} Mbit/s, {state.delay_ms:g} ms, "
        f"{state.loss_percent:g} % loss"
        for state in now
    )


def read_setting(assignments: list[str]) -> LinkSetting:
    """``KEY=VALUE`` texts, checked like the fields of an experiment file."""
    raw: dict[str, Any] = {}
    for assignment in assignments:
        assign(raw, assignment, COMMAND)
    setting = validated(LinkSetting, raw, COMMAND)
    if setting.profile is not None:
        load_profile(setting.profile)  # an unknown one is refused before any run is looked for
    return setting


def values_of(setting: LinkSetting, side: str) -> dict[str, float]:
    """Spell out a setting of one direction, its profile included."""
    of_profile: dict[str, float] = {}
    if setting.profile is not None:
        one_way: DirectionProfile = getattr(load_profile(setting.profile), side)
        of_profile = one_way.model_dump(exclude={"trace"})
    own: dict[str, float] = getattr(setting, side).given()
    return of_profile | setting.given() | own


def current_links(directory: Path | None) -> Iterator[LinkState]:
    """Every shaped direction of a run, finished or not: the last values that were applied."""
    run = find_run(directory)
    _, spec = _network_of(run)
    changed = {
        (event.link, event.direction): event
        for event in read_events(run.events)
        if isinstance(event, LinkChanged)
    }
    for link, profile in spec.shaped_links:
        for direction in DIRECTIONS:
            ends = (link.a, link.b) if direction == "a_to_b" else (link.b, link.a)
            now = changed.get((link.name, direction)) or direction_of(profile, direction)
            side = "up" if direction == "a_to_b" else "down"
            yield LinkState(link.name, side, *ends, now.rate_mbit, now.delay_ms, now.loss_percent)


def _network_of(run: RunDirectory) -> tuple[Network, NetworkSpec]:
    """As the user wrote it, and as it was built."""
    written = read_mapping(run.experiment)["network"]
    plan = RunPlan.model_validate_json(run.plan.read_text())
    return TypeAdapter[Network](Network).validate_python(written), plan.network


def find_run(directory: Path | None) -> RunDirectory:
    """The run of a directory, or the one that is running below ``./runs``; it must go on."""
    if directory is not None:
        run = RunDirectory(directory.resolve())
        if not run.manifest.is_file():
            raise BadExperimentError(f"{directory}: not a run directory")
        if not goes_on(run.path):
            raise BadExperimentError(f"{directory}: the run is over, its links are gone")
        return run
    runs = [RunDirectory(entry.resolve()) for entry in Path("runs").glob("*") if entry.is_dir()]
    going_on = [run for run in runs if run.manifest.is_file() and goes_on(run.path)]
    if len(going_on) == 1:
        return going_on[0]
    if not going_on:
        raise BadExperimentError("no run is under way below ./runs; name its directory with --run")
    names = ", ".join(str(run.path) for run in sorted(going_on, key=lambda run: run.path))
    raise BadExperimentError(f"several runs go on, name one with --run: {names}")
