"""``compute.json``: what computing was charged, by the device of each host.

The fields alone; what they mean for a layer's time is computed by ``controller.split`` and
``testbed.devices``, whose classes are these with methods. The number of the schema is called
``schema_version`` here.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from stage_node.records.record import Record


class ColumnRecord(Record):
    """Time of every layer for ``images`` at once; where and when (a date) that was measured."""

    images: int = Field(ge=1)
    cpu_model: str
    torch_version: str
    measured: str
    layer_ms: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]


class TableRecord(Record):
    """The columns of the model whose file has the content ``checkpoint_sha256``, the smallest batch
    first; ``model`` is its name, for people."""

    model: str
    checkpoint_sha256: str
    columns: tuple[ColumnRecord, ...] = Field(min_length=1)


class DeviceRecord(Record):
    """A device by ``speed``, relative to the core of the reference table, or with ``tables`` of its
    own, measured on it."""

    name: str = Field(min_length=1)
    source: str = Field(min_length=1)
    speed: float | None = Field(default=None, gt=0)
    memory_mib: int | None = Field(default=None, ge=1)
    tables: tuple[TableRecord, ...] = ()


class HostDeviceRecord(Record):
    """The device that a host stands for, and how much of it the host has."""

    profile: DeviceRecord
    cpu_share: float = 1.0


class ComputingRecord(Record):
    """The devices of the hosts that compute, by host, and the reference table of every model.

    ``declared``: the experiment said which; otherwise all are the default.
    """

    schema_version: Literal[1] = 1
    declared: bool
    devices: Mapping[str, HostDeviceRecord]
    tables: tuple[TableRecord, ...]
