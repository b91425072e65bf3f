"""Requests for ladders, their results, and the cache between the two.

A ladder is built once: it is found again by the hash of everything it depends on, checkpoint,
modules, partition, mechanisms and the code that measures included.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import safetensors.torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from controller.errors import ControllerError
from controller.fringe.mechanisms import MechanismName
from controller.keeping.import_closure import source_code
from controller.keeping.user_cache import cache_folder
from controller.ladder.bottlenecks import DistilledModule, load_modules
from controller.ladder.ladder import LadderTable, ModuleFile
from controller.split.partition import Partition
from stage_node.fringe.cut import Cut
from stage_node.models import ChainModel

MEASURED_BY = "controller.ladder.builder"
TABLE, CUTS = "ladder.json", "cuts.safetensors"


class LadderRequest(BaseModel):
    """All that a ladder depends on.

    ``validation_images`` bounds those that accuracy is measured on. ``batch`` is the pipeline's:
    images of a frame share its lossless coding.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: Path
    dataset: str
    stages: tuple[tuple[str, ...], ...]
    mechanisms: tuple[MechanismName, ...] = Field(min_length=1)
    fringe_layers: int = 1
    calibration_images: int
    validation_images: int
    batch: int
    modules: tuple[ModuleFile, ...] = ()

    @property
    def partition(self) -> Partition:
        """The layers, stage by stage."""
        return Partition(self.stages)

    @cached_property
    def key(self) -> str:
        """SHA-256 (hex) over everything: where files lie does not matter, what is in them does."""
        digest = hashlib.sha256()
        fields = self.model_dump_json(
            exclude={"checkpoint": True, "modules": {"__all__": {"file"}}}
        )
        digest.update(fields.encode())
        for file in (self.checkpoint, *(Path(module.file) for module in self.modules)):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        for source in source_code(MEASURED_BY):
            digest.update(source)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class BuiltLadder:
    """A table with the cuts and modules that make its rungs resident at the stages."""

    table: LadderTable
    cuts: tuple[Cut, ...]
    modules: tuple[DistilledModule, ...]

    def save(self, folder: Path) -> None:
        """Write a directory that ``load`` reads; modules are copied into it."""
        folder.mkdir(parents=True, exist_ok=True)
        copies = []
        for number, module in enumerate(self.table.modules):
            name = f"module-{number}.safetensors"
            shutil.copyfile(module.file, folder / name)
            copies.append(module.model_copy(update={"file": name}))
        tensors = {
            f"{cut}.{name}": tensor.contiguous()
            for cut, module in enumerate(self.cuts)
            for name, tensor in module.tensors().items()
        }
        safetensors.torch.save_file(tensors, folder / CUTS)
        table = self.table.model_copy(update={"modules": tuple(copies)})
        (folder / TABLE).write_text(table.to_json())

    @classmethod
    def load(cls, folder: Path, model: ChainModel, fringe_layers: int) -> Self:
        """Read what ``save`` wrote; ``BadLadderError`` if it cannot be read."""
        try:
            table = LadderTable.from_json((folder / TABLE).read_text())
            tensors = safetensors.torch.load_file(folder / CUTS)
        except (OSError, ValidationError, safetensors.SafetensorError) as error:
            raise BadLadderError(f"{folder}: no ladder: {error}") from None
        files = tuple(
            module.model_copy(update={"file": str(folder / module.file)})
            for module in table.modules
        )
        partition = Partition(table.stages)
        shapes = model.shapes()
        cuts = tuple(
            Cut.from_tensors(
                {
                    name.split(".", 1)[1]: tensor
                    for name, tensor in tensors.items()
                    if name.startswith(f"{cut}.")
                },
                shapes[after][1],
            )
            for cut, after in enumerate(partition.cuts)
        )
        modules = load_modules(files, model, partition, fringe_layers)
        return cls(table.model_copy(update={"modules": files}), cuts, modules)


class BadLadderError(ControllerError):
    """A directory holds no ladder, or a damaged one."""


def ensure_ladder(
    request: LadderRequest,
    build: Callable[[LadderRequest], BuiltLadder],
    cache: Path | None = None,
) -> Path:
    """The directory of the ladder of a request: from the cache, or built now and put there."""
    folder = (cache or cache_folder("ladders")) / request.key
    if not (folder / TABLE).exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as building:
            build(request).save(Path(building) / "ladder")
            if not folder.exists():  # another process may have been as quick
                (Path(building) / "ladder").rename(folder)
    return folder
