"""Charges of computing in a run, read from its directory."""

import math

from analysis.summary.computing import ComputingSummary, HostDeviceSummary
from stage_node.records.computing import ComputingRecord


def computing_summary(record: ComputingRecord) -> ComputingSummary:
    """Summarise what was charged, by host, and the newest column of its tables."""
    newest = max(
        (column for table in record.tables for column in table.columns),
        key=lambda column: column.measured,
    )
    return ComputingSummary(
        cpu_model=newest.cpu_model,
        torch_version=newest.torch_version,
        measured=newest.measured,
        declared=record.declared,
        devices=tuple(
            HostDeviceSummary(
                host=host,
                device=device.profile.name,
                speed=_finite(device.profile.speed),
                measured=device.profile.speed is None,
                cpu_share=device.cpu_share,
                source=device.profile.source,
            )
            for host, device in record.devices.items()
        ),
    )


def _finite(speed: float | None) -> float | None:
    return None if speed is None or math.isinf(speed) else speed
