"""Starting the processes of a phase and waiting for them."""

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
        running = [(job, _spawn(zygote, net, job, run.logs)) for job in tasks]
        ended = [(job, zygote.wait(pid)) for job, pid in running]
    finally:
        zygote.terminate_all()
    failed = [f"{job.name}: {_last_line(run.logs, job, status)}" for job, status in ended if status]
    if failed:
        raise RunFailedError("; ".join(failed))


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
