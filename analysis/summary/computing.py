"""Part of ``summary.json``: charges of computing that the clock did not show."""

from pydantic import Field

from analysis.summary.section import SummarySection


class HostDeviceSummary(SummarySection):
    """The device that a host stood for."""

    host: str = Field(description="the host")
    device: str = Field(description="name of the device's profile; `custom`: of the experiment")
    speed: float | None = Field(
        description="relative to the core of the table; null: times of its own, or no time at all"
    )
    measured: bool = Field(description="whether the times were measured on the device itself")
    cpu_share: float = Field(description="how much of a processor the host had, 0 to 1")
    source: str = Field(description="where the device's speed or times come from")


class ComputingSummary(SummarySection):
    """Declared times of computing: the table's, divided by the speed of the host's device
    and by its share of a processor."""

    cpu_model: str = Field(description="processor that the table was measured on, one core of it")
    torch_version: str = Field(description="with which it was measured")
    measured: str = Field(description="date of the newest measurement")
    declared: bool = Field(description="whether the experiment names devices; otherwise a default")
    devices: tuple[HostDeviceSummary, ...] = Field(description="of the hosts that compute")
