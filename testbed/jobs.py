"""Starting the processes of a phase and waiting for them."""

import contextlib
import math
import time
from pathlib import Path

from stage_node.events import Listening
from stage_node.zygote import Zygote
from testbed.errors import RunFailedError
from testbed.plan import Job, Phase
from testbed.progress import EventFollower
from testbed.rundir import RunDirectory
from topologies.network import EmulatedNetwork

SERVICE_START_TIMEOUT_S = 30.0
POLL_INTERVAL_S = 0.05
FAILURE_GRACE_S = 3.0


def run_phase(zygote: Zygote, net: EmulatedNetwork, phase: Phase, run: RunDirectory) -> None:
    """Start the jobs of a phase, services first; wait; end the services.

    Raises RunFailedError with the last line that each failed job wrote.
    """
    services = [job for job in phase.jobs if job.service]
    tasks = [job for job in phase.jobs if not job.service]
    news = EventFollower(run.events)
    news.fresh()
    try:
        for service in services:
            _spawn(zygote, net, service, run.logs)
        _await_listening(news, len(services))
        failed = _await_end(zygote, {_spawn(zygote, net, job, run.logs): job for job in tasks})
    finally:
        zygote.terminate_all()
    if failed:
        raise RunFailedError(
            "; ".join(f"{job.name}: {_last_line(run.logs, job, status)}" for job, status in failed)
        )


def _await_end(zygote: Zygote, running: dict[int, Job]) -> list[tuple[Job, int]]:
    """Wait for all jobs, or, once one has failed, as long as its peers may need to notice."""
    failed: list[tuple[Job, int]] = []
    deadline = math.inf
    while running and time.monotonic() < deadline:
        for pid in list(running):
            with contextlib.suppress(TimeoutError):
                status = zygote.wait(pid, POLL_INTERVAL_S)
                job = running.pop(pid)
                if status:
                    failed.append((job, status))
                    deadline = min(deadline, time.monotonic() + FAILURE_GRACE_S)
    return failed


def _spawn(zygote: Zygote, net: EmulatedNetwork, job: Job, logs: Path) -> int:
    return zygote.spawn(
        name=job.name,
        entry=job.entry,
        kwargs=job.arguments,
        log_path=logs / f"{job.name}.log",
        netns_pid=net.host_pid(job.host),
    )


def _await_listening(news: EventFollower, count: int) -> None:
    deadline = time.monotonic() + SERVICE_START_TIMEOUT_S
    listening = 0
    while listening < count:
        if time.monotonic() > deadline:
            raise RunFailedError(f"{count - listening} services did not start; see their logs")
        time.sleep(POLL_INTERVAL_S)
        listening += sum(isinstance(event, Listening) for event in news.fresh())


def _last_line(logs: Path, job: Job, status: int) -> str:
    log = logs / f"{job.name}.log"
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else f"ended with status {status} and no word"
