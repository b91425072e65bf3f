"""Runs ``concertina fidelity``: one boot of the host for each profile, one report of them all.

``DIR/fidelity.json`` is whole after every profile, so that an interruption loses only the present
one. ``DIR/NAME/`` has what the tools answered.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from stage_node.records.events import EventLog, Message, Phase, Progress
from stage_node.records.run_directory import EVENTS
from testbed.errors import (
    BadExperimentError,
    HostUnavailableError,
    RunInterruptedError,
    TestbedError,
)
from testbed.fidelity.emulation import MEASURED, PROFILE
from testbed.fidelity.table import AMPLE_WIDTH, conclusion, fidelity_table
from testbed.hosts.choose import ChosenHost, HostWish, choose, installation, tell_choice
from testbed.hosts.environment import PYTHON
from testbed.hosts.machine import MEASURING_TOOLS, Machine, examine_machine
from testbed.interruption import Stopped, stopped_by_signals
from testbed.kernel.build import ensure_kernel
from testbed.run.directory import fresh_directory
from testbed.run.manifest import describe_code
from testbed.run.progress import RunDisplay
from topologies.fidelity.claims import FidelityReport, ProfileFidelity
from topologies.links.profiles import LinkProfile, catalogue, load_profiles

TASK = "profiles"


def measure_fidelity(
    references: Sequence[str], wish: HostWish, out: Path | None, *, as_json: bool
) -> int:
    """Measure the profiles and print table or JSON; the exit status for the shell.

    0: none is other than it claims; 1: one is, or could not be measured for a failure. Raises
    BadTopologyError, BadExperimentError and HostUnavailableError before anything starts,
    RunInterruptedError on Ctrl-C or SIGTERM.
    """
    profiles = chosen_profiles(references)
    machine = examine_machine()
    check_tools(machine)
    console = Console(stderr=as_json)
    choice = choose(wish, machine, lambda: ensure_kernel(console))
    directory = fresh_directory("fidelity", out)
    tell_choice(choice, console)
    console.print(f"directory: {directory}", highlight=False, soft_wrap=True)
    report = _measured(profiles, choice, directory, console)
    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        if not console.is_terminal:
            console.width = AMPLE_WIDTH
        console.print(fidelity_table(report))
    console.print(conclusion(report), highlight=False, markup=False, soft_wrap=True)
    return 1 if report.verdict == "fail" else 0


def chosen_profiles(references: Sequence[str]) -> tuple[LinkProfile, ...]:
    """The profiles that are meant, the whole catalogue by default; no name twice."""
    if not references:
        return tuple(catalogue().values())
    profiles = [profile for each in references for profile in load_profiles(each)]
    names = [profile.name for profile in profiles]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise BadExperimentError(f"profile {twice!r} is given twice")
    return tuple(profiles)


def check_tools(machine: Machine) -> None:
    """Raises HostUnavailableError, with the command that helps, where a tool is missing."""
    if missing := machine.missing(MEASURING_TOOLS):
        raise HostUnavailableError(
            f"fidelity is measured with {' and '.join(MEASURING_TOOLS)}; not installed: "
            f"{', '.join(missing)}; fix: {installation(machine)}"
        )


def _measured(
    profiles: Sequence[LinkProfile], choice: ChosenHost, directory: Path, console: Console
) -> FidelityReport:
    report = FidelityReport(
        host=choice.kind,
        clock=choice.clock,
        started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        code=describe_code().model_dump(),
        profiles=(),
    )
    file = directory / "fidelity.json"
    try:
        with (
            stopped_by_signals(),
            EventLog(directory / EVENTS, "fidelity") as events,
            RunDisplay(directory / EVENTS, console),
        ):
            events.emit(Phase(phase=TASK, state="begin"))
            for number, profile in enumerate(profiles, start=1):
                measured = _measure(profile, choice, directory)
                report = report.model_copy(update={"profiles": (*report.profiles, measured)})
                file.write_text(report.model_dump_json(indent=2))
                events.emit(Message(text=_news(measured)))
                events.emit(Progress(task=TASK, done=number, total=len(profiles)))
    except Stopped as error:
        raise RunInterruptedError(
            f"interrupted after {len(report.profiles)} of {len(profiles)} profiles; nothing is "
            f"left running; what was measured is in {directory}",
            error.signal_number,
        ) from error
    return report


def _news(measured: ProfileFidelity) -> str:
    """A line at once, for those who do not see the bar or will not wait for the table."""
    told = f"{measured.profile.name}: {measured.verdict}, {measured.duration_s:.0f} s"
    return f"{told}: {measured.failure}" if measured.failure else told


def _measure(profile: LinkProfile, choice: ChosenHost, directory: Path) -> ProfileFidelity:
    """One boot; a host that does not survive it fails this profile, not the others."""
    folder = directory / profile.name
    folder.mkdir()
    (folder / PROFILE).write_text(profile.model_dump_json())
    log = folder / "emulation.log"
    try:
        status = choice.host.run(
            [PYTHON, "-m", "testbed.fidelity.emulation", profile.name, choice.clock],
            writable=directory,
            output=log,
        )
    except HostUnavailableError:
        raise
    except TestbedError as error:
        return ProfileFidelity(profile=profile, failure=str(error))
    if status:
        return ProfileFidelity(
            profile=profile, failure=f"the emulation ended with status {status} (see {log})"
        )
    return ProfileFidelity.model_validate_json((folder / MEASURED).read_text())
