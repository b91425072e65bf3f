"""Measures a device: what models take on the machine that this runs on, as a profile in a file."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from controller.keeping.machine import cpu_model
from controller.split.compute_table import Column, ComputeTable, content_sha256
from testbed.errors import BadExperimentError
from testbed.experiment.named_models import existing_checkpoint

Report = Callable[[str], None]
"""Told what is measured now."""


def measure_device(
    models: Sequence[str], batches: Iterable[int], out: Path, report: Report = lambda _: None
) -> Path:
    """Write the profile of this machine, named like the file, with a table of every model.

    ``BadExperimentError`` where the file exists or cannot be written, or a model is not there.
    """
    if out.exists():
        raise BadExperimentError(f"--out {out}: exists already")
    checkpoints = [existing_checkpoint(model) for model in models]
    sizes = sorted({1, *batches})
    tables = [_measured(checkpoint, sizes, report) for checkpoint in checkpoints]
    try:
        out.write_text(yaml.safe_dump({out.stem: profile_fields(tables)}, sort_keys=False))
    except OSError as error:
        raise BadExperimentError(f"--out {out}: cannot be written: {error.strerror}") from error
    return out


def profile_fields(tables: Sequence[ComputeTable]) -> dict[str, Any]:
    """Entry of this machine in a file of devices."""
    newest = max((column for table in tables for column in table.columns), key=_date)
    return {
        "source": f"concertina device measure, {newest.measured}: {cpu_model()}, one core, "
        f"torch {newest.torch_version}",
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
        "tables": [table.model_dump(mode="json") for table in tables],
    }


def _measured(checkpoint: Path, sizes: Sequence[int], report: Report) -> ComputeTable:
    columns = []
    for images in sizes:
        report(f"{checkpoint.stem}, {images} at once")
        columns.append(Column.measured_here(checkpoint, images))
    return ComputeTable(
        model=checkpoint.stem,
        checkpoint_sha256=content_sha256(checkpoint),
        columns=tuple(columns),
    )


def _date(column: Column) -> str:
    return column.measured
