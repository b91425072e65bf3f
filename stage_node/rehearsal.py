"""What a UE does with a model, done once before the first one comes.

A forked process has its parent's memory, but everything that it touches costs a page fault the
first time, code as well as data: 0.1 to 0.3 ms in a guest. A megabyte that arrives would cost 30 to
80 ms, as much as it takes over a fast link.
"""

import torch
from torch import Tensor

from stage_node.download import Download
from stage_node.model_in_use import ModelInUse
from stage_node.models import ModelSpec, build_model
from stage_node.prefix import PrefixReader
from stage_node.prefix_writer import arrange, encode

LADDER = ((1, 0, 0), (1, 1, 0), (1, 1, 1))
ALLOCATED_BYTES = 8 << 20
"""About what a thread has of a model of a few megabytes, buffers that grow included."""


def rehearse_receiving(images: Tensor, classes: int) -> PrefixReader:
    """Receive a small model for images (N, C, H, W), in the thread that is to receive."""
    touch_memory()
    _, channels, size, _ = images.shape
    model = build_model(
        ModelSpec(
            depth=8,
            width=16,
            classes=classes,
            in_channels=channels,
            image_size=size,
            downsample="pool",
        )
    )
    Download.rehearse()
    reader = PrefixReader()
    reader.feed(encode(arrange(model, LADDER, {}), {"spec": model.spec.model_dump_json()}))
    return reader


def rehearse_computing(reader: PrefixReader, images: Tensor) -> None:
    """Run all of what was received on ``images``, in the thread that is to compute."""
    touch_memory()
    in_use = ModelInUse()
    for configuration in reader.completed():
        in_use.swap(configuration, reader.load(configuration))
        in_use.infer(images)


def touch_memory() -> None:
    """Have the pages that a thread's allocations will be made of."""
    torch.ones(ALLOCATED_BYTES, dtype=torch.uint8)
