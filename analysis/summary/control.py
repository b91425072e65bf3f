"""Part of ``summary.json``: automatic control, and what it is compared with."""

from pydantic import Field

from analysis.summary.section import Accuracy, Distribution, SummarySection
from analysis.summary.traffic import Reductions


class ChosenRungs(SummarySection):
    """One decision under which rungs to serve."""

    t_s: float = Field(description="since the beginning of the mode")
    generation: int = Field(description="generation that the source stamps on its frames")
    rungs: tuple[str, ...] = Field(description="what crosses each cut, in words")
    accuracy_forecast: float = Field(description="what the ladders foretell, 0 to 1")
    rate_mbit: tuple[float, ...] = Field(
        description="estimate for each connection (the oracle's: the truth); none for fixed rungs"
    )
    forecast_ms: float | None = Field(description="end-to-end latency that was foretold")
    reason: str = Field(description="why, in words")


class ControlMode(SummarySection):
    """The pipeline served under one mode; every mode has the links' traces from the beginning."""

    mode: str = Field(description="`automatic`, `oracle`, `uncompressed` or the rungs' names")
    begin_s: float = Field(description="since the start of the run")
    duration_s: float = Field(description="how long it was served")
    frames: int = Field(description="frames admitted in that time (ledger)")
    frames_due: int = Field(
        description="frames that the workload's rhythm asked for; those that found the window "
        "full were left out"
    )
    frames_within: int = Field(description="frames from admission to result within the bound")
    within_share: float | None = Field(
        description="frames within / frames due, 0 where none came; null: none was due"
    )
    passes: int = Field(
        description="whole passes over the split that were served, from the mode's first frame on"
    )
    accuracy: Accuracy | None = Field(
        description="of the inferences in these passes, so that every image counts as often as "
        "every other; null: not one whole pass"
    )
    accuracy_forecast: float | None = Field(
        description="mean over all frames served of what the ladders foretell of their rungs"
    )
    wire_bytes: tuple[float, ...] | None = Field(
        description="by connection: bytes per inference served, all headers and retransmissions "
        "included (sender's capture); null: a connection was not seen"
    )
    bandwidth_reduction: Reductions | None = Field(
        description="Eq. 1 against the uncompressed split, measured before control; null: one of "
        "the two was not seen"
    )
    switches: int = Field(description="changes of the rungs")
    latency: Distribution | None = Field(description="from admission to result, per frame (ledger)")
    choices: tuple[ChosenRungs, ...] = Field(description="in the order of time")


class Control(SummarySection):
    """Automatic control of the rungs, beside what it is compared with."""

    bound_ms: float = Field(description="a frame is to take at most so long")
    modes: tuple[ControlMode, ...] = Field(description="in the order of time")

    def mode(self, name: str) -> ControlMode | None:
        """The first mode of a name."""
        return next((mode for mode in self.modes if mode.mode == name), None)
