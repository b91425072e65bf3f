"""Charges of computing in a run, read from its directory."""

import math

from analysis.run.network import Described
from analysis.summary.computing import ComputingSummary, HostDeviceSummary


class Column(Described):
    """One measurement of a model, without its figures."""

    cpu_model: str
    torch_version: str
    measured: str


class Table(Described):
    """Time of a model on the reference."""

    columns: tuple[Column, ...]


class Profile(Described):
    """A device; no speed where it has times of its own."""

    name: str
    source: str
    speed: float | None = None


class Device(Described):
    """The device of a host."""

    profile: Profile
    cpu_share: float


class ComputingRecord(Described):
    """``compute.json``."""

    declared: bool
    devices: dict[str, Device]
    tables: tuple[Table, ...]

    def figures(self) -> ComputingSummary:
        """As the summary has it."""
        newest = max(
            (column for table in self.tables for column in table.columns),
            key=lambda column: column.measured,
        )
        return ComputingSummary(
            cpu_model=newest.cpu_model,
            torch_version=newest.torch_version,
            measured=newest.measured,
            declared=self.declared,
            devices=tuple(
                HostDeviceSummary(
                    host=host,
                    device=device.profile.name,
                    speed=_finite(device.profile.speed),
                    measured=device.profile.speed is None,
                    cpu_share=device.cpu_share,
                    source=device.profile.source,
                )
                for host, device in self.devices.items()
            ),
        )


def _finite(speed: float | None) -> float | None:
    return None if speed is None or math.isinf(speed) else speed
