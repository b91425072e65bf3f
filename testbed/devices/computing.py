"""Computing on the hosts of a run: its devices, and the tables of their times.

Kept in the run directory (``compute.json``), so that a run means the same on any other machine.
"""

from collections.abc import Sequence

from controller.split.compute_table import ComputeTable
from stage_node.processes.charges import UnknownChargeError
from stage_node.records.computing import ComputingRecord, HostDeviceRecord
from testbed.devices.profiles import DeviceProfile

DEFAULT_DEVICE = "server-core"
"""What every host stands for in an experiment without ``devices``."""


class HostDevice(HostDeviceRecord):
    """The device that a host stands for, and how much of it the host has."""

    profile: DeviceProfile

    def forward_ms(self, reference: ComputeTable, layers: Sequence[str]) -> dict[int, float]:
        """Milliseconds of layers of ``reference``'s model on this host, by images of a batch."""
        own = self.profile.table(reference.checkpoint_sha256)
        table, speed = (own, 1.0) if own else (reference, self._speed(reference))
        return {
            images: each / speed / self.cpu_share
            for images, each in table.forward_ms(layers).items()
        }

    def speed(self, reference: ComputeTable, images: int) -> float:
        """Speed of this host at the model of ``reference``, relative to the reference.

        A device with a table of its own is compared over the whole model at ``images`` of a batch.
        """
        own = self.profile.table(reference.checkpoint_sha256)
        if own:
            return reference.total_ms(images) / own.total_ms(images) * self.cpu_share
        return self._speed(reference) * self.cpu_share

    def _speed(self, reference: ComputeTable) -> float:
        if self.profile.speed is None:
            raise UnknownChargeError(f"{self.profile.name} did not measure {reference.model}")
        return self.profile.speed


class Computing(ComputingRecord):
    """Charges of computing in a run, and the table of each of its models."""

    devices: dict[str, HostDevice]
    tables: tuple[ComputeTable, ...]

    def table(self, checkpoint_sha256: str) -> ComputeTable:
        """The reference table of a model; ``UnknownChargeError`` where there is none."""
        for table in self.tables:
            if table.checkpoint_sha256 == checkpoint_sha256:
                return table
        raise UnknownChargeError(f"no table of the model with SHA-256 {checkpoint_sha256}")
