"""The ladder at a cut: rungs from no compression to the strongest, and how to descend it.

The patent compresses "progressively" ([0037], [0039]); a ladder says what one step is. Its rungs
were measured: bytes of real activations, accuracy on the validation split with this cut alone at
the rung, and what coding costs. No rung is clearly worse than another in bytes and accuracy both.
"""

import math
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from controller.fringe.mechanisms import MechanismName
from controller.ladder.work_cost import Cost
from stage_node.wire.rung import Rung


class FringeCost(BaseModel):
    """The fringe layers on both sides of a cut as they serve under a rung, with the encoder and
    decoder between them.

    MACs are multiply-accumulates for one image, as dense kernels carry them out: a zero among the
    weights saves none. ``parameters`` counts those that are not zero. ``weight_bytes`` is what they
    take to deliver to stages that hold none of them, coded as activations are on the wire: the
    entries that are not zero with their places, in float32, and zstd.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sender_macs: int = 0
    receiver_macs: int = 0
    parameters: int = 0
    weight_bytes: int = 0


class LadderRung(BaseModel):
    """One rung and what it costs.

    ``payload_bytes`` is what an image takes on average, in frames of the pipeline's batch and
    without their headers. ``accuracy`` is a share of the validation images. ``encode_ms`` and
    ``decode_ms`` are per image, processor time of one core of the machine that built the ladder,
    cut module included. ``fringe`` is what the fringe layers cost under the rung.
    ``transfer_bytes`` have to be sent to the stages before the first switch to it, besides the
    layers and the cut that all rungs share: empty if it is a prefix, a slice or a coding of what
    is resident.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rung: Rung
    payload_bytes: float
    accuracy: float
    encode_ms: float = 0.0
    decode_ms: float = 0.0
    fringe: FringeCost = FringeCost()
    transfer_bytes: int = 0

    @property
    def name(self) -> str:
        """Rung of this entry."""
        return self.rung.name


class Ladder(BaseModel):
    """The rungs of the cut after layer ``after``, the weakest compression first.

    ``shape`` is that of one image's activation. ``considered`` counts the combinations of
    mechanisms that the rungs were chosen from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    after: str
    shape: tuple[int, ...]
    considered: int
    rungs: tuple[LadderRung, ...] = Field(min_length=1)

    @property
    def strongest(self) -> int:
        """Index of the last rung."""
        return len(self.rungs) - 1

    @property
    def raw_bytes(self) -> int:
        """One image's activation in float32."""
        return 4 * math.prod(self.shape)

    def loss(self, rung: int) -> float:
        """Accuracy that a rung loses, a share; a lucky gain is no loss, and no credit either."""
        return max(0.0, self.rungs[0].accuracy - self.rungs[rung].accuracy)

    def weakest_within(self, payload_bytes: float) -> int | None:
        """Index of the first rung that sends at most ``size_bytes``, if any does."""
        return next(
            (i for i, rung in enumerate(self.rungs) if rung.payload_bytes <= payload_bytes), None
        )

    def step_down(self, good: int, broken: int | None, ratio: float) -> int | None:
        """The next rung to try below ``good``, or ``None`` when there is none left.

        While no rung is known to break the accuracy floor, a step goes to ``ratio`` times the
        bytes of ``good``; afterwards steps halve the distance to ``broken``, the weakest rung
        that did.
        """
        if broken is None:
            if good == self.strongest:
                return None
            coarse = self.weakest_within(self.rungs[good].payload_bytes * ratio)
            return self.strongest if coarse is None else max(coarse, good + 1)
        middle = (good + broken) // 2
        return None if middle == good else middle


class ModuleFile(BaseModel):
    """A distilled bottleneck for the cut after a layer; ``name`` is what rungs call it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    after: str
    file: str


class LadderTable(BaseModel):
    """The ladders of all cuts of a partition, and from what they were measured.

    Ranges and bases come from ``calibration_images`` of the train split, accuracies from
    ``validation_images`` of the validation split, the same that the loop decides on; no test image
    was looked at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    key: str = Field(description="content hash of all that the table depends on")
    dataset: str
    stages: tuple[tuple[str, ...], ...]
    mechanisms: tuple[MechanismName, ...]
    calibration_images: int
    validation_images: int
    batch: int
    ladders: tuple[Ladder, ...]
    modules: tuple[ModuleFile, ...] = ()
    cost: Cost = Field(description="of building it, on the machine that did")

    @property
    def uncompressed_accuracy(self) -> float:
        """Share of the validation images that the model itself gets right."""
        return self.ladders[0].rungs[0].accuracy

    @property
    def uncompressed_bytes(self) -> float:
        """Payload per inference over all cuts, nothing compressed."""
        return sum(ladder.rungs[0].payload_bytes for ladder in self.ladders)

    @property
    def strongest_bytes(self) -> float:
        """Payload per inference over all cuts, each at its strongest."""
        return sum(ladder.rungs[-1].payload_bytes for ladder in self.ladders)

    def to_json(self) -> str:
        """The table as a file has it."""
        return self.model_dump_json(indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote."""
        return cls.model_validate_json(text)


def pareto(rungs: Sequence[LadderRung], noise: float = 0.0) -> tuple[LadderRung, ...]:
    """The uncompressed cut and every rung that no other beats, the weakest first.

    Beaten is a rung where another sends no more bytes and is more accurate by ``noise``, what
    chance does to an accuracy: a rung that only had bad luck on a few images stays, or the ladder
    would consist of the lucky ones. Of rungs of the same bytes the most accurate stays, and of
    those the one that is quickest to code.
    """
    uncompressed, *others = rungs
    kept: list[LadderRung] = []
    best = -math.inf
    for rung in sorted(
        others, key=lambda r: (r.payload_bytes, -r.accuracy, r.encode_ms + r.decode_ms)
    ):
        if rung.payload_bytes >= uncompressed.payload_bytes:
            break
        is_new_size = not kept or rung.payload_bytes > kept[-1].payload_bytes
        if is_new_size and rung.accuracy > best - noise:
            best = max(best, rung.accuracy)
            kept.append(rung)
    return (uncompressed, *reversed(kept))


def weakest_first(rungs: Sequence[LadderRung]) -> tuple[LadderRung, ...]:
    """The first, which is the uncompressed cut, and the others from the most bytes to the fewest;
    of the same bytes, those with more weights first."""
    uncompressed, *others = rungs
    others.sort(key=lambda r: (-r.payload_bytes, -r.fringe.weight_bytes))
    return (uncompressed, *others)


def standard_error(accuracy: float, images: int) -> float:
    """Standard error of a share of right answers among ``samples``."""
    return math.sqrt(accuracy * (1 - accuracy) / images)
