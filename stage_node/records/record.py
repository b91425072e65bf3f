"""The base of every file of a run: frozen models that are written and read here alone."""

import json
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator


class BadRecordError(ValueError):
    """A file is missing or is not the record it should be; the message is one line."""


class Record(BaseModel):
    """A typed part of a file; immutable, and an unknown field is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


RecordT = TypeVar("RecordT", bound=Record)


class RunFilePart(Record):
    """A part of a run's file; fields that versions before or after it wrote are ignored."""

    model_config = ConfigDict(extra="ignore")


class RunFile(RunFilePart):
    """A whole file of a run, with the number of its schema.

    A field that older versions did not write is optional and says so. A schema that is newer than
    ``NEWEST`` is refused.
    """

    model_config = ConfigDict(populate_by_name=True)

    NEWEST: ClassVar[int] = 1

    schema_version: int = Field(
        default=1,  # files of before there was a number
        validation_alias="schema",
        serialization_alias="schema",
    )

    @field_validator("schema_version")
    @classmethod
    def _is_known(cls, number: int) -> int:
        if number > cls.NEWEST:
            raise ValueError(
                f"schema {number} is of a newer Concertina; this one reads up to {cls.NEWEST}"
            )
        return number

    def content(self) -> dict[str, Any]:
        """Return the file's JSON value."""
        return self.model_dump(mode="json", by_alias=True)

    def write(self, path: Path) -> None:
        """Write the file as indented JSON."""
        path.write_text(json.dumps(self.content(), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file; raises ``BadRecordError`` if it is missing or no such record."""
        return read_record(cls, path)


def read_record(kind: type[RecordT], path: Path) -> RecordT:
    """Read a JSON file; raises ``BadRecordError`` if it is missing or no such record."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise BadRecordError(f"{path.parent}: {path.name} is missing") from None
    return parse_record(kind, text, path)


def parse_record(kind: type[RecordT], text: bytes, said: object) -> RecordT:
    """Parse the text of a file that messages call ``said``; raises ``BadRecordError``."""
    try:
        return kind.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise BadRecordError(": ".join(filter(None, (str(said), where, message)))) from None
    except ValueError as error:
        raise BadRecordError(f"{said}: not JSON: {error}") from None
