"""Starting the processes of a phase and waiting for them."""

import contextlib
import math
import time
from dataclasses import dataclass
from pathlib import Path

from stage_node.processes.zygote import Zygote
from stage_node.records.events import EventFollower, Listening
from stage_node.records.run_directory import RunDirectory
from testbed.errors import RunFailedError
from testbed.planning.plan import Job, PlannedPhase
from topologies.emulation.network import EmulatedNetwork
from topologies.machine.cpu_share import CpuShares

SERVICE_START_TIMEOUT_S = 30.0
POLL_INTERVAL_S = 0.05
FAILURE_GRACE_S = 3.0


@dataclass(frozen=True)
class JobPlace:
    """The place of jobs: emulated hosts, their shares of the CPU, and the zygote."""

    zygote: Zygote
    net: EmulatedNetwork
    shares: CpuShares


def run_phase(place: JobPlace, phase: PlannedPhase, run: RunDirectory) -> None:
    """Start the jobs of a phase, services first; wait; end the services.

    Raises RunFailedError with the last line that each failed job wrote.
    """
    zygote = place.zygote
    services = [job for job in phase.jobs if job.service]
    tasks = [job for job in phase.jobs if not job.service]
    news = EventFollower(run.events)
    news.fresh()
    try:
        serving = {_spawn(place, service, run.logs): service for service in services}
        failed = _await_listening(zygote, serving, news)
        if not failed:
            running = {_spawn(place, job, run.logs): job for job in tasks}
            failed = _await_end(zygote, running, serving)
    finally:
        zygote.terminate_all()
    if failed:
        raise RunFailedError(
            "; ".join(f"{job.name}: {_last_line(run.logs, job, status)}" for job, status in failed)
        )


def _await_end(
    zygote: Zygote, running: dict[int, Job], serving: dict[int, Job]
) -> list[tuple[Job, int]]:
    """Wait for all jobs, or, once one or a service has failed, as long as its peers may need."""
    failed: list[tuple[Job, int]] = []
    deadline = math.inf
    while running and time.monotonic() < deadline:
        ended = [*_ended(zygote, serving), *_ended(zygote, running)]
        failed += [(job, status) for job, status in ended if status or job.service]
        if failed:
            deadline = min(deadline, time.monotonic() + FAILURE_GRACE_S)
    return failed


def _ended(zygote: Zygote, jobs: dict[int, Job]) -> list[tuple[Job, int]]:
    """Take out of ``jobs`` those that have ended; looks a moment at each."""
    ended = []
    for pid in list(jobs):
        with contextlib.suppress(TimeoutError):
            status = zygote.wait(pid, POLL_INTERVAL_S)
            ended.append((jobs.pop(pid), status))
    return ended


def _spawn(place: JobPlace, job: Job, logs: Path) -> int:
    pid = place.zygote.spawn(
        name=job.name,
        entry=job.entry,
        kwargs={"configuration": job.arguments},
        log_path=logs / f"{job.name}.log",
        netns_pid=place.net.host_pid(job.host),
    )
    place.shares.confine(job.host, pid)
    return pid


def _await_listening(
    zygote: Zygote, serving: dict[int, Job], news: EventFollower
) -> list[tuple[Job, int]]:
    """Wait until every service says that it listens; those that ended instead."""
    deadline = time.monotonic() + SERVICE_START_TIMEOUT_S
    waited_for, listening = dict(serving), 0
    while listening < len(serving):
        if dead := _ended(zygote, waited_for):
            return dead
        if time.monotonic() > deadline:
            names = ", ".join(job.name for job in serving.values())
            raise RunFailedError(f"not every service started in time ({names}); see their logs")
        listening += sum(isinstance(event, Listening) for event in news.fresh())
    return []


def _last_line(logs: Path, job: Job, status: int) -> str:
    log = logs / f"{job.name}.log"
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else f"ended with status {status} and no word"
