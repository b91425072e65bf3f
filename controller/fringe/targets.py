"""The user's targets for the compression loop (US 2025/0265465 A1, claim 11; FIG. 4; [0045])."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from controller.errors import BadTargetsError
from controller.fringe.mechanisms import MechanismName


class FringeTargets(BaseModel):
    """The control options of the loop, and of automatic control.

    Exactly one accuracy floor, which neither steps below. The loop also needs at least one thing
    to reach (``check_goal``); control has its bound instead. All bytes are counted over all
    cuts together, frame headers included; the latency is the median from the admission of a
    frame at the source to its result.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_accuracy: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="Accuracy floor, a share of the validation images."
    )
    max_accuracy_loss_points: Annotated[float, Field(ge=0, le=100)] | None = Field(
        default=None,
        description="Accuracy floor, as percentage points below the uncompressed model.",
    )
    bandwidth_reduction: Annotated[float, Field(ge=1)] | None = Field(
        default=None, description="Factor by which the bytes per inference are to fall."
    )
    max_bytes_per_inference: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Bytes per inference to come down to, all cuts together."
    )
    max_latency_ms: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Median latency per frame to come down to."
    )
    mechanisms: Annotated[tuple[MechanismName, ...], Field(min_length=1)] = Field(
        default=("width",), description="Mechanisms of compression to combine."
    )
    fringe_layers: Annotated[int, Field(ge=1)] = Field(
        default=1, description="Layers on each side of a cut that count as fringe layers."
    )
    step_ratio: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.5, description="Share of the bytes of a cut that one coarse step leaves."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.min_accuracy is None) == (self.max_accuracy_loss_points is None):
            raise ValueError("give one of min_accuracy and max_accuracy_loss_points")
        if len(set(self.mechanisms)) < len(self.mechanisms):
            raise ValueError("mechanisms: name each mechanism once")
        if self.bandwidth_reduction is not None and self.max_bytes_per_inference is not None:
            raise ValueError("give one of bandwidth_reduction and max_bytes_per_inference")
        return self

    @property
    def has_goal(self) -> bool:
        """Return True if there is anything to reach."""
        goals = (self.bandwidth_reduction, self.max_bytes_per_inference, self.max_latency_ms)
        return any(goal is not None for goal in goals)

    def accuracy_floor(self, uncompressed: float) -> float:
        """The share of correct answers below which no step is kept.

        Raises ``BadTargetsError`` where the uncompressed model itself is below it.
        """
        if self.max_accuracy_loss_points is not None:
            return uncompressed - self.max_accuracy_loss_points / 100
        assert self.min_accuracy is not None
        if uncompressed < self.min_accuracy:
            raise BadTargetsError(
                f"min_accuracy: the uncompressed model reaches only {uncompressed:.4f} of the "
                f"{self.min_accuracy:.4f} asked for; no compression can mend that"
            )
        return self.min_accuracy

    def byte_budget(self, uncompressed: float) -> float | None:
        """Bytes per inference to come down to, given the uncompressed pipeline's."""
        if self.bandwidth_reduction is not None:
            return uncompressed / self.bandwidth_reduction
        return self.max_bytes_per_inference


class AutomaticControl(BaseModel):
    """Order to automatic control: keep frames within ``bound_ms``.

    The pipeline is served for ``duration_s`` under each of ``modes``, one after the other, each
    with the links' traces from their beginning: ``automatic``; ``oracle``, which knows the traces;
    ``uncompressed``; or fixed rungs, by their place among the choices (0: the most accurate, -1:
    the fewest bytes) or by name; none of them twice. A frame is admitted ``frames_per_s`` times a
    second as long as the window has room (``None``: as fast as it has). Decisions are taken every
    ``interval_s``, among rungs that by the ladders' forecast keep the floor of ``FringeTargets``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bound_ms: float = Field(gt=0)
    duration_s: float = Field(gt=0)
    interval_s: float = Field(default=0.1, gt=0)
    modes: Annotated[tuple[int | str, ...], Field(min_length=1)] = ("automatic",)
    frames_per_s: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.interval_s >= self.duration_s:
            raise ValueError(
                f"interval_s: no decision falls within duration_s, {self.duration_s:g} s"
            )
        twice = [mode for i, mode in enumerate(self.modes) if mode in self.modes[:i]]
        if twice:
            raise ValueError(f"modes: {twice[0]!r} is given twice")
        return self

    @property
    def frame_ms(self) -> float:
        """From one frame to the next; 0: as fast as they go."""
        return 1e3 / self.frames_per_s if self.frames_per_s else 0.0


def check_goal(targets: FringeTargets, control: AutomaticControl | None) -> None:
    """``ValueError`` where the loop is to run and has nothing to reach."""
    if control is None and not targets.has_goal:
        raise ValueError(
            "targets: nothing to reach: give bandwidth_reduction, max_bytes_per_inference or "
            "max_latency_ms (or control, which needs none)"
        )
