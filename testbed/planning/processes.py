"""Plans the network of a run, and the processes on it, before anything starts.

Planning needs torch (models are split and ladders measured here); carrying the plan out
(testbed.run.emulation) needs root and nothing else, which saves the microVM seconds of imports.
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from controller.accordion.serving.link_estimate import LinkEstimate, path_window
from controller.accordion.serving.process import ServerConfiguration
from controller.live.known_rates import KnownRates
from controller.live.plan import PipelinePlan, StagePlan, controller_name
from controller.process import ControllerConfiguration
from stage_node.accordion.needs import Step
from stage_node.accordion.server.faults import Fault
from stage_node.accordion.server.served_file import ServedFile
from stage_node.accordion.ue.ue import UeConfiguration
from stage_node.fringe.stage import StageConfiguration
from stage_node.records.events import LONE_PIPELINE, TOGETHER
from stage_node.records.line.ethernet import SEGMENT_BYTES
from stage_node.records.run_directory import RunDirectory
from stage_node.records.vocabulary import ClockKind
from testbed.devices.assigning import computing_of
from testbed.devices.charging import charged_plan, inference_charges
from testbed.devices.computing import Computing
from testbed.experiment.file import AccordionSection, DownloadSection, Experiment, PipelineSection
from testbed.experiment.named_models import checkpoint_path
from testbed.planning.checked import CheckedExperiment
from testbed.planning.ladders import fetch_ladder, measured_ladder, read_table
from testbed.planning.model_copies import RunFiles
from testbed.planning.plan import Job, PlannedPhase, RunPlan
from testbed.planning.validation import CheckedPipeline, delivered_models
from topologies.networks.addressing import CONTROLLER_NAME, Plan, management_ips, plan_of
from topologies.networks.paths import bottleneck_mbit, delay_ms, path_between
from topologies.networks.schedule import bottleneck_over_time
from topologies.networks.spec import NetworkSpec

CONTROL_PORT = 4000
HTTP_PORT = 8000
INSIDE = RunDirectory(Path())
"""The run directory as its own processes name it: they work in it."""


def plan_run(
    checked: CheckedExperiment,
    run: RunDirectory,
    clock: ClockKind = "real",
    pace: float | None = None,
) -> RunPlan:
    """Plan the whole run, and copy the files that it needs into its directory.

    On the virtual clock computing takes no time of its own, and is charged.
    """
    experiment, spec = checked.experiment, checked.network
    addresses = plan_of(spec)
    files = RunFiles(run)
    computing = None
    if clock == "virtual":
        computing = computing_of(experiment.sections, checked.devices)
    if computing:
        run.computing.write_text(computing.model_dump_json(indent=1))
    pipelines = [
        _at_home(_charged(pipeline, computing), run, files) for pipeline in plan_pipelines(checked)
    ]
    serving = tuple(job for pipeline in pipelines for job in pipeline_jobs(pipeline, INSIDE))
    controlled = any(pipeline.control is not None for pipeline in pipelines)
    delivering: tuple[Job, ...] = ()
    if experiment.accordion is not None:
        company = _company(experiment) if experiment.together else ()
        delivering = accordion_jobs(
            experiment.accordion, spec, addresses, files, checked.served, company, computing
        )
    if experiment.together:
        phases = [PlannedPhase(name=TOGETHER, jobs=(*serving, *delivering), controlled=controlled)]
    else:
        phases = [
            PlannedPhase(name="pipeline", jobs=serving, controlled=controlled),
            PlannedPhase(name="accordion", jobs=delivering),
        ]
    return RunPlan(
        clock=clock,
        pace=pace,
        seed=experiment.seed,
        network=spec,
        phases=tuple(phase for phase in phases if phase.jobs),
    )


def _at_home(plan: PipelinePlan, run: RunDirectory, files: RunFiles) -> PipelinePlan:
    """Return the plan with ladder, model and modules in the run directory, named relative to it."""
    modules = tuple(
        module.model_copy(update={"file": str(files.model(Path(module.file)))})
        for module in plan.modules
    )
    return plan.model_copy(
        update={
            "ladder": fetch_ladder(plan, run).relative_to(run.path),
            "checkpoint": files.model(plan.checkpoint),
            "modules": modules,
        }
    )


def _charged(plan: PipelinePlan, computing: Computing | None) -> PipelinePlan:
    """The plan with what its stages are charged, where they are."""
    if computing is None:
        return plan
    return charged_plan(plan, read_table(measured_ladder(plan)), computing)


def plan_pipelines(checked: CheckedExperiment) -> list[PipelinePlan]:
    """Plans of the pipelines' controllers, without ladders and charges."""
    plans = [
        plan_pipeline(pipeline, checked.network, name)
        for name, pipeline in checked.pipelines.items()
    ]
    everyone = _company(checked.experiment)
    return [
        plan.model_copy(
            update={"company": tuple(each for each in everyone if each != plan.controller)}
        )
        for plan in plans
    ]


def _company(experiment: Experiment) -> tuple[str, ...]:
    """The processes that wait for each other, as they sign their events: the pipelines'
    controllers, and UEs that ask for models at the same time."""
    ues: list[str] = []
    if experiment.together and experiment.accordion is not None:
        ues = [download.ue for download in experiment.accordion.downloads]
    return (*map(controller_name, experiment.split_models), *ues)


def plan_pipeline(
    pipeline: CheckedPipeline, spec: NetworkSpec, name: str = LONE_PIPELINE
) -> PipelinePlan:
    """Plan of a lone pipeline's controller, without ladder and charges."""
    section, split = pipeline.section, pipeline.split
    addresses = plan_of(spec)
    management = management_ips(spec)
    stages = tuple(
        StagePlan(
            name=host,
            layers=layers,
            control_ip=str(management[host]),
            control_port=CONTROL_PORT,
            listen_ip=str(addresses.data_ip(host, section.hosts[index - 1])) if index else None,
        )
        for index, (host, layers) in enumerate(
            zip(section.hosts, split.partition.stages, strict=True)
        )
    )
    return PipelinePlan(
        name=name,
        checkpoint=pipeline.checkpoint,
        dataset=section.dataset,
        stages=stages,
        placement=split.placement,
        batch=section.batch,
        window=section.window,
        calibration_images=section.calibration_images,
        validation_images=section.validation_images,
        measured_images=section.measured_images,
        targets=section.targets,
        modules=section.modules,
        control=section.control,
        truth=_truth(section, spec),
    )


def _truth(section: PipelineSection, spec: NetworkSpec) -> tuple[KnownRates, ...]:
    """Rates of the connections between the stages during control."""
    if section.control is None:
        return ()
    rates = []
    for here, there in pairwise(section.hosts):
        known = bottleneck_over_time(spec, here, there, section.control.duration_s * 1e3)
        times_ms, mbit = zip(*known, strict=True)
        rates.append(KnownRates(times_ms=times_ms, mbit=mbit))
    return tuple(rates)


def pipeline_jobs(plan: PipelinePlan, run: RunDirectory) -> tuple[Job, ...]:
    """A stage process per host, and the controller on the management network."""
    return (
        *(_stage_job(stage, run) for stage in plan.stages),
        Job.of(
            plan.controller,
            CONTROLLER_NAME,
            ControllerConfiguration(
                plan=plan,
                events_path=run.events,
                table_path=run.ladder_table(plan.name),
            ),
        ),
    )


def _stage_job(stage: StagePlan, run: RunDirectory) -> Job:
    return Job.of(
        f"stage-{stage.name}",
        stage.name,
        StageConfiguration(
            name=stage.name,
            control_ip=stage.control_ip,
            control_port=stage.control_port,
            ledger_dir=run.ledger,
            events_path=run.events,
        ),
    )


def accordion_jobs(
    section: AccordionSection,
    spec: NetworkSpec,
    addresses: Plan,
    files: RunFiles,
    served: Mapping[Path, ServedFile],
    company: tuple[str, ...] = (),
    computing: Computing | None = None,
) -> tuple[Job, ...]:
    """The model server, which knows each UE's link by its profile, and the UEs; ``company`` are
    all processes that wait for each other, if any do, ``computing`` what inferences are charged."""
    ues = [download.ue for download in section.downloads]
    server = Job.of(
        "model-server",
        section.server,
        ServerConfiguration(
            name=section.server,
            ip="0.0.0.0",
            port=HTTP_PORT,
            checkpoints=tuple(
                files.model(checkpoint_path(model)) for model in delivered_models(section)
            ),
            initial_window=section.initial_window,
            faults=tuple(_fault(fault, section, addresses) for fault in section.faults),
            estimates={
                str(addresses.data_ip(ue, section.server)): _prior(spec, section.server, ue)
                for ue in ues
            },
            events_path=INSIDE.events,
        ),
        service=True,
    )
    downloads = [
        Job.of(
            f"ue-{download.ue}",
            download.ue,
            UeConfiguration(
                name=download.ue,
                server_ip=str(addresses.data_ip(section.server, download.ue)),
                server_port=HTTP_PORT,
                model=checkpoint_path(download.model or section.model).stem,
                steps=tuple(_step(step, section) for step in download.steps),
                repeat=download.repeat,
                dataset=download.dataset or section.dataset,
                company=tuple(each for each in company if each != download.ue),
                events_path=INSIDE.events,
                images=section.measured_images,
                receive_window_bytes=_receive_window_bytes(section, spec, download.ue),
                inference_ms=_inference_ms(section, download, served, computing),
            ),
        )
        for download in section.downloads
    ]
    return (server, *downloads)


def _inference_ms(
    section: AccordionSection,
    download: DownloadSection,
    served: Mapping[Path, ServedFile],
    computing: Computing | None,
) -> dict[str, float] | None:
    """Charges of a UE, by configuration, if it is charged."""
    if computing is None:
        return None
    checkpoint = checkpoint_path(download.model or section.model)
    configurations = served[checkpoint].configurations
    return inference_charges(download.ue, checkpoint, configurations, computing)


def _step(step: Step, section: AccordionSection) -> Step:
    """A step that says how it is to be admitted where it is a request with needs."""
    admission = step.admission
    if admission is None and step.needs():
        streamed = section.admission == "stream" and step.deadline_ms is not None
        admission = "stream" if streamed else "lookup"
    return step.model_copy(update={"admission": admission})


def _fault(fault: Fault, section: AccordionSection, addresses: Plan) -> Fault:
    """A fault that knows its UE by the address that the server sees."""
    ue = fault.ue and str(addresses.data_ip(fault.ue, section.server))
    return fault.model_copy(update={"ue": ue})


def _receive_window_bytes(section: AccordionSection, spec: NetworkSpec, ue: str) -> int | None:
    """Receive window of a UE for a server whose window is sized to the path: that and a queue."""
    if section.initial_window != "path":
        return None
    return 2 * path_window(_prior(spec, section.server, ue)) * SEGMENT_BYTES


def _prior(spec: NetworkSpec, server: str, ue: str) -> LinkEstimate:
    """Estimate of the path from its profiles: the server's first, until it measures."""
    down, up = path_between(spec, server, ue), path_between(spec, ue, server)
    return LinkEstimate(bottleneck_mbit(down), delay_ms(down) + delay_ms(up))
