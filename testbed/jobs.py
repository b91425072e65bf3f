"""Which processes a run consists of, where they run, and what they are told."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stage_node.zygote import Zygote

from controller.plan import PipelinePlan, StagePlan
from stage_node.models import load_checkpoint
from testbed.errors import RunFailedError
from testbed.experiment import PipelineSection
from testbed.rundir import RunDirectory
from testbed.validation import checkpoint_path, partition_of
from topologies.network import EmulatedNetwork

CONTROL_PORT = 4000
HTTP_PORT = 8000
CONTROLLER = "ctl"


@dataclass(frozen=True, eq=False)
class Job:
    """One process: its entry point, the emulated host it runs on, its arguments.

    A ``service`` is ended when the other jobs of its phase are done; the others end by themselves
    and their failure fails the run.
    """

    name: str
    host: str
    entry: str
    arguments: dict[str, Any] = field(default_factory=dict)
    service: bool = False


def pipeline_jobs(section: PipelineSection, net: EmulatedNetwork, run: RunDirectory) -> list[Job]:
    """A stage process per host, and the controller on the management network."""
    checkpoint = checkpoint_path(section.model)
    partition = partition_of(section, load_checkpoint(checkpoint))
    stages = tuple(
        StagePlan(
            name=host,
            layers=layers,
            control_ip=net.mgmt_ip(host),
            control_port=CONTROL_PORT,
            listen_ip=net.data_ip(host, towards=section.hosts[index - 1]) if index else None,
        )
        for index, (host, layers) in enumerate(zip(section.hosts, partition.stages, strict=True))
    )
    plan = PipelinePlan(
        checkpoint=checkpoint,
        dataset=section.dataset,
        stages=stages,
        batch=section.batch,
        window=section.window,
        calibration_images=section.calibration_images,
        measured_images=section.measured_images,
        targets=section.targets,
    )
    controller = Job(
        name="controller",
        host=CONTROLLER,
        entry="controller.main:run_pipeline",
        arguments={
            "plan": plan.model_dump(mode="json"),
            "events_path": str(run.events),
            "run_dir": str(run.path),
        },
    )
    return [
        *(
            Job(
                name=f"stage-{stage.name}",
                host=stage.name,
                entry="stage_node.stage:main",
                arguments={
                    "name": stage.name,
                    "control_ip": stage.control_ip,
                    "control_port": stage.control_port,
                    "ledger_dir": str(run.ledger),
                    "events_path": str(run.events),
                },
            )
            for stage in stages
        ),
        controller,
    ]


def run_jobs(zygote: Zygote, net: EmulatedNetwork, jobs: list[Job], logs: Path) -> None:
    """Start all jobs, wait for those that end by themselves, end the services.

    Raises RunFailedError with the last line that each failed job wrote.
    """
    running = {
        job.name: zygote.spawn(
            name=job.name,
            netns_pid=net.host_pid(job.host),
            entry=job.entry,
            kwargs=job.arguments,
            log_path=logs / f"{job.name}.log",
        )
        for job in jobs
    }
    try:
        ended = {job: zygote.wait(running[job.name]) for job in jobs if not job.service}
        failed = [
            f"{job.name}: {_last_line(logs, job, status)}"
            for job, status in ended.items()
            if status
        ]
        if failed:
            raise RunFailedError("; ".join(failed))
    finally:
        zygote.terminate_all()


def _last_line(logs: Path, job: Job, status: int) -> str:
    log = logs / f"{job.name}.log"
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else f"ended with status {status} and no word"
