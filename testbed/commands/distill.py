"""``concertina distill``: what can be asked for. The work is in testbed.learning.distillation."""

from pathlib import Path
from typing import Annotated

import typer

BUDGET = "Budget: how many bytes an image may take (give one)"
FORM = "Form: the architecture itself, where no budget chooses it"
TRAINING = "Training"
FILES = "Files"

Subject = Annotated[
    str,
    typer.Argument(
        metavar="EXPERIMENT|MODEL",
        help="An experiment (file, or name of a shipped one), or a model (checkpoint, name of a "
        "shipped one, or a .th file of akamaster's CIFAR ResNets).",
    ),
]
After = Annotated[
    str | None,
    typer.Option(
        metavar="LAYER",
        help="The last layer before the cut. May be left out where an experiment has one cut.",
    ),
]
Pipeline = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Which one, where an experiment has several pipelines."),
]
Out = Annotated[Path, typer.Option(metavar="FILE", help="The .safetensors file to write.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a field of the experiment."),
]


def _in(panel: str, text: str, **limits: float) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(help=text, rich_help_panel=panel, **limits)  # type: ignore[arg-type]
    return option


BudgetBytes = Annotated[float | None, _in(BUDGET, "Payload bytes per image.", min=0)]
LatencyMs = Annotated[
    float | None,
    _in(BUDGET, "Time a frame may take from its first byte out to its last one in.", min=0),
]
InferencesPerS = Annotated[
    float | None, _in(BUDGET, "Images per second that the link has to carry.", min=0)
]
RateMbit = Annotated[
    float | None,
    _in(BUDGET, "Rate of the link; default: the experiment's, the slowest on the way.", min=0),
]
DelayMs = Annotated[
    float | None, _in(BUDGET, "One-way delay; default: the experiment's, or 0.", min=0)
]
FrameImages = Annotated[
    int | None, _in(BUDGET, "Images that share a frame; default: the experiment's, or 1.", min=1)
]
Stride = Annotated[int, _in(FORM, "2 halves the resolution.", min=1, max=2)]
Channels = Annotated[int | None, _in(FORM, "Channels of the codes.", min=1)]
Bits = Annotated[int, _in(FORM, "Bits of a code: 8, 6, 4 or 2.", min=2, max=8)]
Hidden = Annotated[int, _in(FORM, "Width of inner layers; 0: linear, started from a PCA.", min=0)]
Epochs = Annotated[int, _in(TRAINING, "Passes over the train split.", min=1)]
Minutes = Annotated[
    float | None,
    _in(
        TRAINING, "End by then (more than 0), the learning rate annealed, even if epochs are left."
    ),
]
Batch = Annotated[int, _in(TRAINING, "Images of a step.", min=1)]
LearningRate = Annotated[float, _in(TRAINING, "At its highest.", min=0)]
FeaturesOnly = Annotated[
    float,
    _in(TRAINING, "Share of the training without the layers behind the fringe.", min=0, max=1),
]
FringeLayers = Annotated[
    int | None,
    _in(TRAINING, "Layers behind the cut that are tuned; default: the experiment's, or 1.", min=1),
]
TuneSender = Annotated[bool, _in(TRAINING, "Tune as many layers before the cut too.")]
Versions = Annotated[
    int, _in(TRAINING, "Augmented versions of the train split; each is cached.", min=1)
]
Seed = Annotated[int, _in(TRAINING, "Of order and augmentation.")]
Start = Annotated[
    Path | None, _in(FILES, "A bottleneck of the same form, narrower or wider, to begin at.")
]
Data = Annotated[
    str | None,
    _in(
        FILES,
        "Data set of a model: cifar10 (the default), cifar100, digits; experiments name their own.",
    ),
]
DataFolder = Annotated[Path | None, _in(FILES, "Where the archives of data sets lie.")]
Work = Annotated[
    Path | None,
    _in(
        FILES,
        "Cached activations and the state of an interrupted training; default: the user's cache.",
    ),
]


def distill(
    subject: Subject,
    out: Out,
    after: After = None,
    pipeline: Pipeline = None,
    assignments: Assignments = None,
    budget_bytes: BudgetBytes = None,
    latency_ms: LatencyMs = None,
    inferences_per_s: InferencesPerS = None,
    rate_mbit: RateMbit = None,
    delay_ms: DelayMs = None,
    frame_images: FrameImages = None,
    stride: Stride = 2,
    channels: Channels = None,
    bits: Bits = 2,
    hidden: Hidden = 64,
    epochs: Epochs = 12,
    minutes: Minutes = None,
    batch: Batch = 128,
    learning_rate: LearningRate = 2e-3,
    features_only: FeaturesOnly = 0.2,
    fringe_layers: FringeLayers = None,
    tune_sender: TuneSender = False,
    versions: Versions = 5,
    seed: Seed = 0,
    start: Start = None,
    data: Data = None,
    data_folder: DataFolder = None,
    work: Work = None,
) -> None:
    """Distil a bottleneck for one cut: a small encoder and decoder, trained against the model.

    Only the bottleneck and the fringe layers behind the cut are trained; all other layers are
    frozen, run once and cached. The form follows from a budget: N bytes, or what a latency
    or a number of inferences per second leaves on the link. Its codes have that size always;
    lossless coding may take a little off.

    `concertina distill split-cifar10 --after block2_8 --latency-ms 20 --out b.safetensors`

    `concertina distill MODEL.th --data cifar10 --after block2_8 --budget-bytes 192 --minutes 30
    --out b.safetensors`

    Interrupted, it continues when the same command is given again. What comes out is named in an
    experiment's `pipeline.modules`, for the mechanism `distill`. Train images train; the accuracies
    are of validation images; test images are not touched.
    """
    from testbed.learning.distillation import (
        BottleneckForm,
        BudgetLink,
        DistillationRequest,
        DistillationTraining,
        run_distillation,
    )

    run_distillation(
        DistillationRequest(
            subject=subject,
            pipeline=pipeline,
            after=after,
            assignments=tuple(assignments or ()),
            link=BudgetLink(latency_ms, inferences_per_s, rate_mbit, delay_ms, frame_images),
            form=BottleneckForm(budget_bytes, stride, channels, bits, hidden),
            training=DistillationTraining(
                epochs, minutes, batch, learning_rate, features_only, seed, versions, fringe_layers,
                tune_sender, start,
            ),
            data=data,
            data_folder=data_folder,
            work=work,
            out=out,
        )
    )  # fmt: skip
