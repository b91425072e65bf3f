"""Sentences about a run as a whole: reservations, what ran at once, what computing was charged."""

from analysis.summary import Summary
from analysis.summary.computing import ComputingSummary, HostDeviceSummary
from analysis.wording import counted, listed, number, percent


def reservations(summary: Summary) -> list[str]:
    """Say why the figures deserve less trust; empty if the verdict is pass or warn."""
    sentences = []
    if summary.fidelity.verdict == "fail":
        sentences.append(
            "The network was not what it claimed to be, so the figures below must not be trusted."
        )
    if summary.fidelity.verdict == "unknown":
        sentences.append("Whether the network was what it claimed to be was never judged.")
    return sentences


def at_once(summary: Summary) -> list[str]:
    """Say who shared the network; empty if one had it to itself."""
    sentences = []
    if len(summary.pipelines) > 1:
        each = [f"{pipeline.name} ({listed(pipeline.hosts)})" for pipeline in summary.pipelines]
        sentences.append(
            f"{counted(len(summary.pipelines), 'split model')} served at the same time: "
            f"{listed(each)}."
        )
    if summary.together:
        sentences.append("Models were delivered while split models served.")
    if sentences:
        sentences.append(
            "None was measured before all were ready, and each split model served on until all "
            "were done. A link's utilisation counts all that crossed it."
        )
    return sentences


def charged(computing: ComputingSummary) -> list[str]:
    """Say that times of computing are declared, from which table, for which devices."""
    sentences = [
        "Computing was charged, not measured: it took what a table says, measured on one core of "
        f"{computing.cpu_model} ({computing.measured}, torch {computing.torch_version}), divided "
        "by the speed of the host's device and the host's share of a processor."
    ]
    if not computing.declared:
        sentences.append("The experiment names no devices, so that all are the same.")
    devices = listed([_device(device) for device in computing.devices])
    return [*sentences, f"{devices}, all at the same time."]


def charged_in_short(computing: ComputingSummary) -> str:
    """Say the same in one short sentence, devices by name."""
    devices = [f"{each.host} as {each.device}" for each in computing.devices]
    if not computing.declared:
        return "Computing was charged from a table, not measured; all devices are the same."
    return f"Computing was charged from a table, not measured: {listed(devices)}."


def _device(device: HostDeviceSummary) -> str:
    """Name a host's device and its times: ``edge computes as jetson (speed 0.56)``."""
    known = "in no time" if device.speed is None else f"speed {number(device.speed, 2)}"
    if device.measured:
        known = "times measured on it"
    share = f"; {percent(device.cpu_share, 0)} of it" if device.cpu_share < 1 else ""
    return f"{device.host} computes as {device.device} ({known}{share})"
