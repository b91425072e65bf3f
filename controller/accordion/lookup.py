"""The look-up table of a prefix-runnable checkpoint: configuration to bytes, accuracy, MACs.

Step 0 of the Accordion protocol: the network endpoint evaluates every configuration beforehand,
on validation data, exactly as a UE will run it.
"""

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from controller.accordion.accuracy import evaluate
from stage_node.accordion.prefix import PrefixReader
from stage_node.data import Dataset
from stage_node.errors import BadModelError
from stage_node.models import build_model
from stage_node.records.configuration import Configuration


class LookupEntry(BaseModel):
    """One configuration: it runs with the first ``end_byte`` bytes of the file.

    ``accuracy`` is a share (0..1) of the validation split, ``macs`` counts multiply-accumulate
    operations for one image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    configuration: Configuration
    end_byte: int = Field(gt=0)
    accuracy: float = Field(ge=0, le=1)
    macs: int = Field(ge=0)


class LookupTable(BaseModel):
    """Every configuration of one checkpoint in growing order of bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint_sha256: str
    dataset: str
    samples: int = Field(gt=0)
    entries: tuple[LookupEntry, ...] = Field(min_length=1)


def build_table(checkpoint: Path, dataset: Dataset) -> LookupTable:
    """Evaluate every configuration of a checkpoint on the validation split."""
    content = checkpoint.read_bytes()
    reader = PrefixReader()
    reader.feed(content)
    header = reader.require_header()
    model = build_model(header.spec)
    macs = model.macs()
    entries = [
        LookupEntry(
            configuration=configuration,
            end_byte=end,
            accuracy=evaluate(reader.load(configuration), dataset.validation),
            macs=sum(macs[layer] for layer in model.subset(configuration)),
        )
        for configuration, end in header.configurations.items()
    ]
    return LookupTable(
        checkpoint_sha256=hashlib.sha256(content).hexdigest(),
        dataset=dataset.name,
        samples=len(dataset.validation),
        entries=tuple(entries),
    )


def write_table(checkpoint: Path, dataset: Dataset) -> LookupTable:
    """Evaluate a checkpoint and keep its table beside it."""
    table = build_table(checkpoint, dataset)
    table_path(checkpoint).write_text(table.model_dump_json(indent=1) + "\n")
    return table


def table_path(checkpoint: Path) -> Path:
    """Path of a checkpoint's table: beside it."""
    return checkpoint.with_suffix(".lookup.json")


def read_table(checkpoint: Path) -> LookupTable:
    """The table beside a checkpoint; ``BadModelError`` when it is absent, wrong or of another."""
    path = table_path(checkpoint)
    table = parse_table(path)
    if hashlib.sha256(checkpoint.read_bytes()).hexdigest() != table.checkpoint_sha256:
        raise BadModelError(f"{path} belongs to another version of {checkpoint.name}")
    return table


def parse_table(path: Path) -> LookupTable:
    """A table by itself; ``BadModelError`` when it is absent or damaged."""
    try:
        return LookupTable.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadModelError(f"{path}: there is no look-up table: {error.strerror}") from None
    except ValidationError as error:
        wrong = error.errors()[0]
        field = ".".join(map(str, wrong["loc"])) or "the file"
        raise BadModelError(f"{path}: no look-up table: {field}: {wrong['msg']}") from None
