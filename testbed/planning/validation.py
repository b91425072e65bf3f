"""Does the experiment make sense? Checked before anything starts.

The form of the file is checked where it is read (testbed.experiment.file); here its names must
exist: hosts, layers, checkpoints, data sets, profiles.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.accordion.lookup import read_table, table_path
from controller.errors import ControllerError
from controller.fringe.fringe import find_fringe
from controller.live.plan import check_modules, check_targets
from stage_node.accordion.server.served_file import ServedFile
from stage_node.data import SOURCES, Dataset, load_dataset
from stage_node.errors import StageNodeError
from stage_node.models import ChainModel, load_model
from stage_node.records.configuration import configuration_name
from testbed.devices.assigning import device_mistakes, devices_of
from testbed.devices.computing import HostDevice
from testbed.errors import BadExperimentError
from testbed.experiment.file import (
    AccordionSection,
    PipelineSection,
    Sections,
    pipeline_field,
)
from testbed.experiment.named_models import checkpoint_path, existing_checkpoint
from testbed.experiment.networks import build_network
from testbed.planning.splitting import ModelSplit, split_of
from topologies.errors import TopologyError
from topologies.networks.schedule import varies
from topologies.networks.spec import NetworkSpec


def check_data(model: ChainModel, data: Dataset) -> None:
    """``BadExperimentError`` where a model is for other images than the data set's."""
    if data.image_shape != model.input_shape or len(data.classes) != model.spec.classes:
        raise BadExperimentError(
            f"{data.name} has images of {data.image_shape} in {len(data.classes)} classes, the "
            f"model is for {model.input_shape} in {model.spec.classes}"
        )


def delivered_models(section: AccordionSection) -> list[str]:
    """The models that any UE downloads, each once."""
    return list(dict.fromkeys(each.model or section.model for each in section.downloads))


@dataclass(frozen=True, eq=False)
class CheckedPipeline:
    """A split model: its section, and the model and split that this stands for."""

    section: PipelineSection
    checkpoint: Path
    model: ChainModel
    split: ModelSplit


@dataclass(frozen=True, eq=False)
class CheckedSections:
    """The makings of the sections while they were checked.

    ``served`` has the models that UEs download, by their files. Only what has no mistakes is here.
    """

    network: NetworkSpec | None
    devices: Mapping[str, HostDevice] | None
    pipelines: Mapping[str, CheckedPipeline]
    served: Mapping[Path, ServedFile]


def checked_sections(sections: Sections) -> Generator[str, None, CheckedSections]:
    """Yield a line for every mistake; returns what was made of the sections."""
    network, hosts = yield from _network_mistakes(sections)
    devices = yield from _device_mistakes(sections, hosts, network)
    pipelines, served = {}, dict[Path, ServedFile]()
    for name, section in sections.split_models.items():
        field = pipeline_field(name)
        checked = yield from _split_mistakes(field, section, hosts, network, devices)
        if checked is not None:
            pipelines[name] = checked
            yield from _target_mistakes(field, checked)
    yield from _sharing_mistakes(sections, network)
    if sections.accordion is not None:
        served = yield from _accordion_mistakes(sections.accordion, hosts)
    return CheckedSections(network, devices, pipelines, served)


def checked_splits(sections: Sections) -> Generator[str, None, CheckedSections]:
    """Check the network and the splits alone: what `concertina distill` rests on.

    The modules that the targets may ask for are what it is to make.
    """
    network, hosts = yield from _network_mistakes(sections)
    devices = yield from _device_mistakes(sections, hosts, network)
    pipelines = {}
    for name, section in sections.split_models.items():
        field = pipeline_field(name)
        checked = yield from _split_mistakes(field, section, hosts, network, devices)
        if checked is not None:
            pipelines[name] = checked
    if not sections.split_models:
        yield "has no pipeline section, and so no cut"
    return CheckedSections(network, devices, pipelines, {})


def _network_mistakes(
    sections: Sections,
) -> Generator[str, None, tuple[NetworkSpec | None, tuple[str, ...]]]:
    """Returns the network if there can be one, and its hosts unless just they are wrong."""
    if sections.network is None:
        return None, sections.hosts
    try:
        network = build_network(sections.network)
        return network, network.hosts
    except TopologyError as error:
        lines = str(error).splitlines()
        yield from (f"network.{line}" for line in lines)
        of_hosts = any(line.startswith(("hosts", "ues")) for line in lines)
        return None, () if of_hosts else sections.hosts


def _device_mistakes(
    sections: Sections, hosts: tuple[str, ...], network: NetworkSpec | None
) -> Generator[str, None, Mapping[str, HostDevice] | None]:
    """Returns the devices of hosts if they and the network are known."""
    mistakes = list(device_mistakes(sections, hosts))
    yield from mistakes
    return None if mistakes or network is None else devices_of(sections, network)


def _sharing_mistakes(sections: Sections, network: NetworkSpec | None) -> Iterator[str]:
    """Mistakes where several use the network at the same time, a line each."""
    pipelines = sections.split_models
    first_there: dict[str, str] = {}
    for name, section in pipelines.items():
        for host in dict.fromkeys(section.hosts):
            other = first_there.setdefault(host, name)
            if other != name:
                yield (
                    f"{pipeline_field(name)}.hosts: {host!r} has a stage of {other!r}; "
                    "a host holds a stage of one pipeline"
                )
    controlled = {name: section.control for name, section in pipelines.items() if section.control}
    if len(controlled) > 1 and network and varies(network):
        yield (
            f"pipelines: {', '.join(controlled)} are under control, each mode of which begins the "
            "links' traces anew: where links vary only one pipeline can be"
        )
    if len(pipelines) > 1 or sections.together:
        for name, control in controlled.items():
            if "oracle" in control.modes:
                yield (
                    f"{pipeline_field(name)}.control.modes: the oracle knows the links' traces, "
                    "not what others send over them: it needs the network to itself"
                )


def _target_mistakes(field: str, checked: CheckedPipeline) -> Iterator[str]:
    """Mistakes of what is asked of the cuts, a line each."""
    section, model, partition = checked.section, checked.model, checked.split.partition
    targets = section.targets
    yield from _attempt(f"{field}.targets.", lambda: check_targets(model, partition, targets))
    yield from _attempt(
        f"{field}.modules: ", lambda: check_modules(model, partition, targets, section.modules)
    )


def _split_mistakes(
    field: str,
    section: PipelineSection,
    hosts: tuple[str, ...],
    network: NetworkSpec | None,
    devices: Mapping[str, HostDevice] | None,
) -> Generator[str, None, CheckedPipeline | None]:
    """Returns the model and its split if they and their fringe layers are there."""
    mistakes = list(_host_mistakes(field, section, hosts))
    yield from mistakes
    model = yield from _model_mistakes(field, section.model, section.dataset)
    if model is None or (section.split.auto and (devices is None or mistakes)):
        return None
    try:
        split = _checked_split(section, model, network, devices or {})
    except (ControllerError, BadExperimentError) as error:
        yield f"{field}.split: {error}"
        return None
    depth = section.targets.fringe_layers
    beyond = list(_attempt(f"{field}.targets.", lambda: find_fringe(split.partition, depth)))
    yield from beyond
    if beyond:
        return None
    return CheckedPipeline(section, checkpoint_path(section.model), model, split)


def _host_mistakes(field: str, section: PipelineSection, hosts: tuple[str, ...]) -> Iterator[str]:
    for index, host in enumerate(section.hosts):
        yield from _unknown_host(f"{field}.hosts.{index}", host, hosts)
    if len(set(section.hosts)) < len(section.hosts):
        yield f"{field}.hosts: each stage needs a host of its own"
    for host in section.speeds.keys() - set(section.hosts):
        yield f"{field}.speeds: no stage runs on {host!r} (there are: {', '.join(section.hosts)})"


def _checked_split(
    section: PipelineSection,
    model: ChainModel,
    network: NetworkSpec | None,
    devices: Mapping[str, HostDevice],
) -> ModelSplit:
    """Split as the section asks; an error says why that does not fit the hosts."""
    checkpoint = checkpoint_path(section.model)
    split = split_of(section, model, checkpoint, network, devices)
    if len(split.partition.stages) != len(section.hosts):
        raise BadExperimentError(
            f"{len(split.partition.stages)} stages for {len(section.hosts)} hosts "
            f"({', '.join(section.hosts)})"
        )
    return split


def _accordion_mistakes(
    section: AccordionSection, hosts: tuple[str, ...]
) -> Generator[str, None, dict[Path, ServedFile]]:
    """Returns the models that can be served, by their files."""
    yield from _unknown_host("accordion.server", section.server, hosts)
    for index, download in enumerate(section.downloads):
        yield from _unknown_host(f"accordion.downloads.{index}.ue", download.ue, hosts)
        if download.ue == section.server:
            yield f"accordion.downloads.{index}.ue: the server cannot download from itself"
    ues = [download.ue for download in section.downloads]
    for ue in sorted({ue for ue in ues if ues.count(ue) > 1}):
        yield f"accordion.downloads: {ue!r} is there twice; a UE takes all its steps in one list"
    for index, fault in enumerate(section.faults):
        if fault.ue is not None and fault.ue not in ues:
            yield f"accordion.faults.{index}.ue: {fault.ue!r} downloads nothing"
    served = {}
    asked: dict[tuple[str, str], list[int]] = {(section.model, section.dataset): []}
    for index, download in enumerate(section.downloads):
        wanted = (download.model or section.model, download.dataset or section.dataset)
        asked.setdefault(wanted, []).append(index)
    for (name, dataset), indices in asked.items():
        own = [i for i in indices if section.downloads[i].model or section.downloads[i].dataset]
        field = f"accordion.downloads.{own[0]}" if own and own == indices else "accordion"
        model = yield from _model_mistakes(field, name, dataset)
        if model is not None:
            checkpoint = checkpoint_path(name)
            file = yield from _delivery_mistakes(field, section, indices, checkpoint)
            if file is not None:
                served[checkpoint] = file
    names: dict[str, Path] = {}
    for path in map(checkpoint_path, delivered_models(section)):
        if names.setdefault(path.stem, path) != path:
            yield f"accordion: two models are called {path.stem}: {names[path.stem]} and {path}"
    return served


def _delivery_mistakes(
    field: str, section: AccordionSection, downloads: list[int], checkpoint: Path
) -> Generator[str, None, ServedFile | None]:
    """Is the model whole, does it run by prefixes, and are the configurations that some downloads
    ask for its own? Returns it if it can be served."""
    try:
        file = ServedFile.read(checkpoint)
        table = read_table(checkpoint) if table_path(checkpoint).exists() else None
    except StageNodeError as error:
        yield f"{field}.model: {error}"
        return None
    if not file.configurations:
        yield f"{field}.model: {checkpoint} has no prefixes that run (see `concertina train`)"
        return None
    for index in downloads:
        for number, step in enumerate(section.downloads[index].steps):
            place = f"accordion.downloads.{index}.steps.{number}"
            admission = step.admission or section.admission
            looked_up = step.needs() and not (admission == "stream" and step.deadline_ms)
            if looked_up and table is None:
                yield (
                    f"{place}: {checkpoint} has no look-up table beside it, as `concertina train` "
                    "writes one"
                )
            if admission == "stream" and step.deadline_ms and step.accuracy is not None:
                yield f"{place}.accuracy: admission by stream knows no accuracies"
            if step.run is not None and step.run not in file.configurations:
                known = ", ".join(map(configuration_name, file.configurations))
                yield f"{place}.run: no configuration of the model (there are: {known})"
    return file


def _unknown_host(field: str, host: str, hosts: tuple[str, ...]) -> Iterator[str]:
    if hosts and host not in hosts:
        yield f"{field}: no host {host!r} in the network (there are: {', '.join(hosts)})"


def _model_mistakes(
    section: str, name: str, dataset: str
) -> Generator[str, None, ChainModel | None]:
    """Does the model exist, and does the data set fit it? Returns the model where it does."""
    if dataset not in SOURCES:
        yield f"{section}.dataset: unknown data set {dataset!r} (there are: {', '.join(SOURCES)})"
        return None
    try:
        model = load_model(existing_checkpoint(name))
    except (StageNodeError, BadExperimentError) as error:
        yield f"{section}.model: {error}"
        return None
    try:
        check_data(model, load_dataset(dataset))
    except (StageNodeError, BadExperimentError) as error:
        yield f"{section}.dataset: {error}"
        return None
    return model


def _attempt(field: str, check: Callable[[], object]) -> Iterator[str]:
    """Report another package's check, after the field that caused it."""
    try:
        check()
    except (StageNodeError, ControllerError, BadExperimentError) as error:
        yield f"{field}{error}"
