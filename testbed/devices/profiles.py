"""Device profiles: how fast a device computes, and where that number comes from."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Self

from pydantic import ValidationError, model_validator

from controller.split.compute_table import ComputeTable
from stage_node.records.computing import DeviceRecord
from topologies.catalogues.catalogue import Catalogue
from topologies.errors import BadTopologyError
from topologies.links.profiles import reasons


class DeviceProfile(DeviceRecord):
    """A device that has a speed, or tables of its own."""

    tables: tuple[ComputeTable, ...] = ()

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        if (self.speed is None) == (not self.tables):
            raise ValueError("give speed, or tables that `concertina device measure` has written")
        return self

    def table(self, checkpoint_sha256: str) -> ComputeTable | None:
        """The device's own table of a model, if it was measured."""
        return next(
            (each for each in self.tables if each.checkpoint_sha256 == checkpoint_sha256), None
        )


def parse_device(name: str, fields: object) -> DeviceProfile:
    """A device from the mapping a YAML file holds; ``BadTopologyError`` names every bad field."""
    if not isinstance(fields, Mapping):
        raise BadTopologyError(f"device {name}: expected a mapping, got {fields!r}")
    try:
        return DeviceProfile.model_validate({**fields, "name": name})
    except ValidationError as error:
        raise BadTopologyError(f"device {name}: {'; '.join(reasons(error))}") from error


_CATALOGUE = Catalogue(
    "device",
    files("testbed.devices").joinpath("catalogue.yaml"),
    "testbed/devices/catalogue.yaml",
    parse_device,
)
load_devices = _CATALOGUE.load_all


def device_catalogue() -> Mapping[str, DeviceProfile]:
    """The shipped devices by name, in the order of the file."""
    return _CATALOGUE.shipped


def load_device(reference: str) -> DeviceProfile:
    """A device by ``NAME``, ``FILE:NAME``, or ``FILE`` where that has only one.

    ``BadTopologyError`` where there is none such.
    """
    found = load_devices(reference)
    if len(found) > 1:
        names = ", ".join(device.name for device in found)
        raise BadTopologyError(f"{reference}: has several devices, say which: {names}")
    return found[0]
