"""Events of a split model: its partition, its serving, the loop and the measurements."""

from dataclasses import dataclass

from stage_node.records.events.event import Event

LONE_PIPELINE = "pipeline"
"""What the only split model of a run is called."""


@dataclass(frozen=True, kw_only=True)
class PartitionChosen(Event):
    """A pipeline's model is partitioned over the hosts; names its fringe layers.

    ``reason`` says why it lies so, where measurements decided and not the experiment. All that the
    same ``who``, its controller, emits is of this pipeline.
    """

    kind = "partition"
    pipeline: str = LONE_PIPELINE
    hosts: tuple[str, ...]
    stages: tuple[tuple[str, ...], ...]
    fringe: tuple[str, ...]
    raw_input_bytes: int
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ImagesUsed(Event):
    """Uses of the data set's images: ``calibration`` of the cuts, ``decisions``
    of the loop, ``figures`` that are reported. The splits of a data set share no image."""

    kind = "images_used"
    purpose: str
    split: str
    images: int


@dataclass(frozen=True, kw_only=True)
class GenerationActivated(Event):
    """The source admits frames under a new generation from now on.

    ``rungs`` names what crosses each cut.
    """

    kind = "generation_activated"
    generation: int
    rungs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Iteration(Event):
    """One iteration of the optimisation loop, measured on the live pipeline (FIG. 5).

    ``bytes_per_inference`` has one entry per cut and counts frame headers and payload as the
    sending stage's ledger saw them. ``accuracy`` is a share (0..1) over ``samples``
    validation images. ``cut`` is the one that moved, ``None`` for the baseline and where several
    did. ``outcome`` is ``baseline``, ``kept``, ``rolled back`` or ``target met``.
    """

    kind = "iteration"
    index: int
    cut: int | None
    generation: int
    rungs: tuple[str, ...]
    accuracy: float
    samples: int
    latency_ms_median: float
    bytes_per_inference: tuple[float, ...]
    outcome: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class LoopEnded(Event):
    """The optimisation loop is done; ``reached`` says whether the target was met."""

    kind = "loop_ended"
    reached: bool
    generation: int
    rungs: tuple[str, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Measurement(Event):
    """A steady window of the pipeline under one generation, for the final figures.

    Frames admitted by the source between ``begin_ns`` and ``end_ns`` under ``generation`` belong
    to it. ``label`` is ``before`` or ``after`` compression; ``split`` names the data set split.
    """

    kind = "measurement"
    label: str
    generation: int
    rungs: tuple[str, ...]
    begin_ns: int
    end_ns: int
    accuracy: float
    samples: int
    split: str


@dataclass(frozen=True, kw_only=True)
class FrozenHash(Event):
    """SHA-256 over every tensor that is not of a fringe layer, before and after the run."""

    kind = "frozen_hash"
    before: str
    after: str
