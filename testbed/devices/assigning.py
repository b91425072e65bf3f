"""Assigns a device to each host of an experiment, and checks what is known of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.split.compute_table import content_sha256, merged, reference_table
from stage_node.errors import StageNodeError
from stage_node.models import load_model
from testbed.devices.computing import DEFAULT_DEVICE, Computing, HostDevice
from testbed.devices.profiles import DeviceProfile, load_device
from testbed.experiment.device_section import DeviceChoice
from testbed.experiment.file import Sections
from testbed.experiment.named_models import checkpoint_path
from topologies.errors import TopologyError
from topologies.networks.spec import NetworkSpec

DOWNLOADED_BATCH = 1
"""A UE infers one image at a time."""


@dataclass(frozen=True)
class HostWork:
    """Work of a host: a model, or layers of it, for up to ``batch`` images at once."""

    host: str
    checkpoint: Path
    batch: int


def works_of(sections: Sections) -> list[HostWork]:
    """Everything that is computed on hosts of an experiment."""
    works = [
        HostWork(host, checkpoint_path(section.model), section.batch)
        for section in sections.split_models.values()
        for host in section.hosts
    ]
    if (delivery := sections.accordion) is not None:
        works += [
            HostWork(each.ue, checkpoint_path(each.model or delivery.model), DOWNLOADED_BATCH)
            for each in delivery.downloads
        ]
    return works


def devices_of(sections: Sections, network: NetworkSpec) -> dict[str, HostDevice]:
    """The device of every host that has one; ``BadTopologyError`` where one is not known."""
    chosen = sections.devices
    if chosen is None:
        default = DeviceChoice(profile=DEFAULT_DEVICE)
        chosen = {work.host: default for work in works_of(sections)}
    return {
        host: HostDevice(profile=_profile(choice), cpu_share=network.cpu_share.get(host, 1.0))
        for host, choice in chosen.items()
    }


def computing_of(sections: Sections, devices: Mapping[str, HostDevice]) -> Computing:
    """Devices and tables of an experiment, measured here if they are not in the cache."""
    works = works_of(sections)
    return Computing(
        declared=sections.devices is not None,
        devices={work.host: devices[work.host] for work in works},
        tables=merged(reference_table(work.checkpoint, work.batch) for work in works),
    )


def device_mistakes(sections: Sections, hosts: tuple[str, ...]) -> Iterator[str]:
    """Mistakes of the section ``devices``, a line each: hosts that cannot be charged as it says."""
    if sections.devices is None:
        return
    profiles: dict[str, DeviceProfile] = {}
    for host, choice in sections.devices.items():
        if hosts and host not in hosts:
            yield f"devices.{host}: no such host in the network (there are: {', '.join(hosts)})"
        try:
            profiles[host] = _profile(choice)
        except TopologyError as error:
            yield from (f"devices.{host}: {line}" for line in str(error).splitlines())
    works = works_of(sections)
    for host in dict.fromkeys(work.host for work in works):
        unknown = hosts and host not in hosts  # which is reported where it is named
        if host not in sections.devices and not unknown:
            yield (
                f"devices: {host!r} computes and has no device (`{host}: instant` charges nothing)"
            )
    for work in works:
        if (profile := profiles.get(work.host)) and profile.tables:
            yield from _unmeasured(work, profile)


def _profile(choice: DeviceChoice) -> DeviceProfile:
    if choice.profile is not None:
        return load_device(choice.profile)
    return DeviceProfile(name="custom", source="the experiment file", speed=choice.speed)


def _unmeasured(work: HostWork, profile: DeviceProfile) -> Iterator[str]:
    """Mistakes of a device whose own tables lack a host's work, a line each."""
    try:
        layers = load_model(work.checkpoint).layer_names
    except StageNodeError:
        return  # which the sections that name the model tell
    table = profile.table(content_sha256(work.checkpoint))
    model = work.checkpoint.stem
    remedy = f"`concertina device measure {model} --batch {work.batch}` on it"
    if table is None:
        known = ", ".join(each.model for each in profile.tables)
        yield f"devices.{work.host}: {profile.name} measured {known}, not {model}: {remedy}"
    elif lacks := table.missing(layers, work.batch):
        yield f"devices.{work.host}: {profile.name}'s table of {model} lacks {lacks}: {remedy}"
