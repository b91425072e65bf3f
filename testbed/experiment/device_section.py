"""The ``devices`` section of an experiment file: which device each host stands for."""

from pathlib import Path

from pydantic import Field, model_validator

from testbed.experiment.files import anchored_reference
from testbed.experiment.typed_yaml import Section


class DeviceChoice(Section):
    """The device that a host stands for; in a file, a bare name is that of a profile."""

    profile: str | None = Field(None, description="a name of `concertina devices`, or a file")
    speed: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="relative to the core of the reference table"
    )

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return {"profile": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_two(self) -> "DeviceChoice":
        if (self.profile is None) == (self.speed is None):
            raise ValueError("give a device of the catalogue, a file's, or {speed: ...}")
        return self

    def anchored(self, folder: Path) -> "DeviceChoice":
        """Return a copy with its file's absolute path, sought from ``folder`` first."""
        if self.profile is None:
            return self
        return self.model_copy(update={"profile": anchored_reference(self.profile, folder)})


Devices = dict[str, DeviceChoice]
