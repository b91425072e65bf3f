"""``summary.json``: the figures of a run, typed and documented field by field.

``docs/summary.md`` is generated from these models: ``python -m analysis.summary.document``.
Times and bytes come from the captures and the ledger, rates from the probe; only the deviations
in ``FidelitySummary`` compare with the configuration. A figure that could not be measured is
``null``.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from analysis.summary.accordion import Accordion
from analysis.summary.computing import ComputingSummary
from analysis.summary.network import FidelitySummary, LinkReplay, LinkTraffic
from analysis.summary.pipeline import PipelineSummary
from analysis.summary.section import SummarySection
from stage_node.records.events import LONE_PIPELINE

SCHEMA_VERSION: Literal[2] = 2


class Summary(SummarySection):
    """The figures of one run."""

    schema_version: Literal[2] = Field(
        default=SCHEMA_VERSION,
        serialization_alias="schema",
        validation_alias="schema",
        description="version of this format",
    )
    name: str = Field(description="name of the experiment")
    failure: str | None = Field(description="why the emulation failed, if it did")
    fidelity: FidelitySummary = Field(description="whether the network can be trusted")
    computing: ComputingSummary | None = Field(
        default=None, description="what computing was charged; null: it took what it takes"
    )
    problems: tuple[str, ...] = Field(
        description="what the analysis could not read or join; the figures are without it"
    )
    captured_packets: int = Field(description="packets in all captures")
    links: tuple[LinkTraffic, ...] = Field(description="per link and direction")
    replays: tuple[LinkReplay, ...] = Field(description="directions whose links varied")
    together: bool = Field(
        description="whether models were delivered while the split models served"
    )
    pipelines: tuple[PipelineSummary, ...] = Field(
        description="the split models, which served at once"
    )
    accordion: Accordion | None = Field(description="null: the run delivered no model")

    @model_validator(mode="before")
    @classmethod
    def _of_version_1(cls, data: Any) -> Any:
        """Runs then had one split model at most."""
        if not isinstance(data, dict) or data.get("schema") != 1:
            return data
        newer = {name: value for name, value in data.items() if name != "pipeline"}
        alone = data.get("pipeline")
        pipelines = [{"name": LONE_PIPELINE, **alone}] if alone else []
        return newer | {"schema": SCHEMA_VERSION, "together": False, "pipelines": pipelines}

    @property
    def pipeline(self) -> PipelineSummary | None:
        """The split model of a run that has one and no more."""
        return self.pipelines[0] if len(self.pipelines) == 1 else None

    def write(self, path: Path) -> None:
        """As indented JSON."""
        path.write_text(self.model_dump_json(indent=2, by_alias=True) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Summary":
        """Read what ``write`` wrote, now or in version 1; pydantic's ``ValidationError`` if it was
        not."""
        return cls.model_validate_json(path.read_text(encoding="utf-8"))
