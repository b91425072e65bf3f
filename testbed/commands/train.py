"""``concertina train``, ``lut``, ``variant``: their options; testbed.learning does the work."""

from pathlib import Path
from typing import Annotated

import typer

NETWORK = "Network"
SAMPLING = "Sampling: which configurations are trained, how often"
TRAINING = "Training"
MACHINE = "Machine"


def _in(panel: str, text: str, **more: object) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(help=text, rich_help_panel=panel, **more)  # type: ignore[arg-type]
    return option


Checkpoint = Annotated[
    Path, typer.Argument(metavar="CHECKPOINT", help="The .safetensors file to write.")
]
Data = Annotated[str, _in(TRAINING, "Data set: digits (embedded), cifar10 or cifar100.")]
Family = Annotated[str, _in(NETWORK, "resnet, vgg, vit, or a family of your own.")]
Depth = Annotated[int, _in(NETWORK, "Weighted layers, as the family counts them.", min=1)]
Width = Annotated[int, _in(NETWORK, "Channels of the first inner block.", min=1)]
Downsample = Annotated[
    str, _in(NETWORK, "How the resolution is halved; with **pool** every block can be left out.")
]
Option = Annotated[
    list[str] | None, _in(NETWORK, "An option of the family, NAME=VALUE; may be repeated.")
]
Scheme = Annotated[
    str,
    _in(SAMPLING, "**resnet**: always the whole network; **coml**: blocks are left out from the "
        "end; **block-coml**: the same number from each inner block."),
]  # fmt: skip
PFull = Annotated[
    float, _in(SAMPLING, "Probability of the whole network: 0.5 for CoML-05.", min=0, max=1)
]
Rungs = Annotated[
    list[str] | None,
    _in(SAMPLING, "A configuration, as 4-2-1, in place of the scheme's; repeat, growing, up to the "
        "whole network."),
]  # fmt: skip
Links = Annotated[
    list[str] | None,
    _in(SAMPLING, "Communication criterion: a link's Mbit/s, or a profile's name, and its weight, "
        "as 20:0.5 or lte:0.5; repeat."),
]  # fmt: skip
DeadlineMs = Annotated[float | None, _in(SAMPLING, "... and how long a download may take.")]
Required = Annotated[
    list[str] | None,
    _in(SAMPLING, "Performance criterion: a required accuracy and its weight, as 0.9:2; repeat."),
]
Lookup = Annotated[
    Path | None, _in(SAMPLING, "... and the look-up table of an earlier training, to judge by.")
]
Epochs = Annotated[
    int, _in(TRAINING, "Passes over the train split; 0: the network that --start is.", min=0)
]
Batch = Annotated[int, _in(TRAINING, "Images of an iteration, over all processes.", min=1)]
LearningRate = Annotated[float, _in(TRAINING, "At its highest.", min=0)]
WeightDecay = Annotated[float, _in(TRAINING, "Share of a weight that adds to its gradient.", min=0)]
Schedule = Annotated[
    str, _in(TRAINING, "**steps**: the paper's; **cosine**; or **one-cycle**, for few epochs.")
]
Seed = Annotated[int, _in(TRAINING, "Of weights, order, augmentation and configurations.")]
Start = Annotated[Path | None, _in(TRAINING, "A trained network of the same form to begin at.")]
FrozenBlocks = Annotated[
    int, _in(TRAINING, "The first inner blocks that stay as --start has them.", min=0)
]
Teacher = Annotated[
    Path | None, _in(TRAINING, "A trained network to distil from, beside the labels.")
]
DataFolder = Annotated[Path | None, _in(MACHINE, "Where the archives of data sets lie.")]
Device = Annotated[str, _in(MACHINE, "cpu, cuda, or **auto**: CUDA where it is.")]
Precision = Annotated[
    str,
    _in(
        MACHINE,
        "fp32, bf16, or **auto**: bf16 on CUDA. On a processor with AMX, bf16 is twice as fast; "
        "the checkpoint names it.",
    ),
]
Logs = Annotated[Path | None, _in(MACHINE, "A directory for TensorBoard.")]


def train(
    checkpoint: Checkpoint,
    data: Data = "digits",
    family: Family = "resnet",
    depth: Depth = 20,
    width: Width = 16,
    downsample: Downsample = "pool",
    option: Option = None,
    scheme: Scheme = "coml",
    p_full: PFull = 0.5,
    rungs: Rungs = None,
    links: Links = None,
    deadline_ms: DeadlineMs = None,
    required: Required = None,
    lookup: Lookup = None,
    epochs: Epochs = 60,
    batch: Batch = 64,
    learning_rate: LearningRate = 0.1,
    weight_decay: WeightDecay = 1e-4,
    schedule: Schedule = "steps",
    seed: Seed = 0,
    start: Start = None,
    frozen_blocks: FrozenBlocks = 0,
    teacher: Teacher = None,
    data_folder: DataFolder = None,
    device: Device = "auto",
    precision: Precision = "auto",
    logs: Logs = None,
) -> None:
    """Train a network whose every prefix runs, and write it with its look-up table.

    In each iteration one configuration is drawn; the blocks that it leaves out take no part.

    `concertina train --data cifar10 --depth 56 --scheme coml --p-full 0.5 --epochs 164 --batch 128
    resnet56-coml05.safetensors`

    Interrupted, it continues from the last whole epoch when the same command is given again. On
    several GPUs or machines: `torchrun --nproc-per-node 4 -m -- testbed train ...`. Train images
    train, validation images make the look-up table; test images are not touched.
    """
    given = dict(locals())
    from testbed.learning.training import run_training

    run_training(given)


def lut(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A file, or the name of a shipped one.")
    ],
) -> None:
    """Show the look-up table of a checkpoint: bytes, accuracy, MACs of every configuration.

    Accuracies are of validation images; the table lies beside the checkpoint as
    NAME.lookup.json.
    """
    from testbed.learning.training import show_table

    show_table(checkpoint)


def variant(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A file, or the name of a shipped one.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The .safetensors file to write.")],
    bits: Annotated[int, typer.Option(help="Of a weight: 32, 16, 8 or 4.")] = 8,
    keep: Annotated[
        float, typer.Option(help="Share of the weights kept, the largest.", min=0, max=1)
    ] = 1.0,
    data_folder: DataFolder = None,
) -> None:
    """Write a checkpoint with its weights in fewer bits, or the smallest left out.

    Still a plain safetensors file whose every prefix runs. Its look-up table is measured anew
    on validation images.
    """
    from testbed.learning.training import run_variant

    run_variant(checkpoint, out, bits, keep, data_folder)
