"""``experiment.yaml``, as far as the figures of a run are compared with it.

The file is the user's and has no schema number; ``testbed.experiment`` checks and writes all of it.
"""

from stage_node.records.events import LONE_PIPELINE
from stage_node.records.record import RunFilePart


class AccuracyTargets(RunFilePart):
    """Accuracy floor of the loop: a share, or points below the uncompressed model."""

    min_accuracy: float | None = None
    max_accuracy_loss_points: float | None = None


class PipelineWish(RunFilePart):
    """The experiment's targets for a split model."""

    targets: AccuracyTargets | None = None


class ExperimentRecord(RunFilePart):
    """The split models of an experiment."""

    pipeline: PipelineWish | None = None
    pipelines: dict[str, PipelineWish] | None = None

    @property
    def targets(self) -> dict[str, AccuracyTargets]:
        """Targets of each pipeline, by its name, in the order of the file."""
        wishes = self.pipelines or {}
        if self.pipeline:
            wishes = {LONE_PIPELINE: self.pipeline}
        return {name: wish.targets or AccuracyTargets() for name, wish in wishes.items()}
