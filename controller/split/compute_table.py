"""The table of a model: what each of its layers takes on one core of this machine, measured once.

The reference for every device: its times are the table's, divided by its speed. Columns are kept
in the user's cache by the hash of all they depend on, so that a second request has the same answer.
"""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

import torch
from pydantic import Field, model_validator

from controller.keeping.import_closure import source_code
from controller.keeping.machine import cpu_model
from controller.keeping.user_cache import cache_folder
from controller.split.profiling import measure_layers
from stage_node.models import ChainModel, load_model
from stage_node.processes.charges import interpolated
from stage_node.records.computing import ColumnRecord, TableRecord

MEASURED_BY = "controller.split.compute_table"

Measure = Callable[[ChainModel, int], dict[str, float]]


class Column(ColumnRecord):
    """Time of every layer for ``images`` at once, ms: measured, and not all zero."""

    @model_validator(mode="after")
    def _takes_some_time(self) -> Self:
        if not sum(self.layer_ms.values()):
            raise ValueError("layer_ms: all layers together take no time")
        return self

    @classmethod
    def measured_here(
        cls, checkpoint: Path, images: int, measure: Measure = measure_layers
    ) -> Self:
        """Measure a column on this machine."""
        return cls(
            images=images,
            cpu_model=cpu_model(),
            torch_version=torch.__version__,
            measured=time.strftime("%Y-%m-%d"),
            layer_ms=measure(load_model(checkpoint), images),
        )


class ComputeTable(TableRecord):
    """The table of a model, and what it says of layers and batches."""

    columns: tuple[Column, ...] = Field(min_length=1)

    def forward_ms(self, layers: Sequence[str]) -> dict[int, float]:
        """Milliseconds of ``layers`` together, by images of a batch."""
        return {
            column.images: sum(column.layer_ms[name] for name in layers) for column in self.columns
        }

    def layer_ms(self, images: int) -> dict[str, float]:
        """Milliseconds of each layer for a batch of ``images``, linear between two columns."""
        return {
            name: interpolated(self.forward_ms([name]), images) for name in self.columns[0].layer_ms
        }

    def total_ms(self, images: int) -> float:
        """Milliseconds of the whole model for a batch of ``images``."""
        return sum(self.layer_ms(images).values())

    def missing(self, layers: Iterable[str], images: int) -> str | None:
        """Say what the table lacks for ``layers`` and batches of 1 to ``images``, or None."""
        sizes = [column.images for column in self.columns]
        unknown = [
            name for name in layers if any(name not in column.layer_ms for column in self.columns)
        ]
        if unknown:
            return f"layer {', '.join(unknown)}"
        if min(sizes) > 1 or max(sizes) < images:
            return f"batches of 1 to {images} images (it has {', '.join(map(str, sizes))})"
        return None


def content_sha256(checkpoint: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    return hashlib.sha256(checkpoint.read_bytes()).hexdigest()


def reference_table(
    checkpoint: Path, batch: int, measure: Measure = measure_layers
) -> ComputeTable:
    """The table of a model on this machine for batches of 1 to ``batch`` images: a column for
    either, from the cache or measured now and put there."""
    content = content_sha256(checkpoint)
    columns = tuple(_column(checkpoint, content, images, measure) for images in sorted({1, batch}))
    return ComputeTable(model=checkpoint.stem, checkpoint_sha256=content, columns=columns)


def merged(tables: Iterable[ComputeTable]) -> tuple[ComputeTable, ...]:
    """One table per model, with the columns of all."""
    columns: dict[str, dict[int, Column]] = {}
    names: dict[str, str] = {}
    for table in tables:
        names.setdefault(table.checkpoint_sha256, table.model)
        columns.setdefault(table.checkpoint_sha256, {}).update(
            {column.images: column for column in table.columns}
        )
    return tuple(
        ComputeTable(
            model=names[content],
            checkpoint_sha256=content,
            columns=tuple(own[images] for images in sorted(own)),
        )
        for content, own in columns.items()
    )


def _column(checkpoint: Path, content: str, images: int, measure: Measure) -> Column:
    file = cache_folder("compute") / f"{_key(content, images)}.json"
    if not file.exists():
        column = Column.measured_here(checkpoint, images, measure)
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as new:
            new.write(column.model_dump_json(indent=1))
        Path(new.name).replace(file)
    return Column.model_validate_json(file.read_text())


def _key(content: str, images: int) -> str:
    """SHA-256 (hex) over everything that a column depends on."""
    digest = hashlib.sha256()
    for part in (content, str(images), cpu_model(), torch.__version__):
        digest.update(part.encode() + b"\0")
    for source in source_code(MEASURED_BY):
        digest.update(source)
    return digest.hexdigest()
