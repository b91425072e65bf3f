"""The base of every file of a run: frozen models that refuse what they do not know."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A typed part of a file; immutable, and an unknown field is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")
