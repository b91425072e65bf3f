"""Rehearses a UE's work with a model, once before the first one comes.

A forked process has its parent's memory, but everything that it touches costs a page fault the
first time, code as well as data: 0.1 to 0.3 ms in a guest. A megabyte that arrives would cost 30 to
80 ms, as much as it takes over a fast link.
"""

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from stage_node.accordion.prefix import PrefixReader
from stage_node.accordion.prefix_writer import arrange, encode
from stage_node.accordion.ue.download import Download
from stage_node.accordion.ue.model_in_use import ModelInUse
from stage_node.models import ModelSpec, build_model
from stage_node.models.weight_format import FULL, WeightFormat
from stage_node.records.configuration import Configuration

LADDER: tuple[Configuration, ...] = ((1, 0, 0), (1, 1, 0), (1, 1, 1))
ALLOCATED_BYTES = 8 << 20
"""About as much as receiving and running a model of a few megabytes allocates."""


def rehearse_receiving(shape: tuple[int, ...], classes: int) -> Iterator[PrefixReader]:
    """Receive small models for images of ``shape`` (C, H, W), in 32 and in 8 bits, each
    configuration with statistics of its own."""
    touch_memory()
    Download.rehearse()
    channels, size, _ = shape
    spec = ModelSpec(
        depth=8, width=16, classes=classes, in_channels=channels, image_size=size, downsample="pool"
    )
    model = build_model(spec)
    statistics = {
        configuration: {
            name: value
            for name, value in model.configured(configuration).state_dict().items()
            if "running_" in name
        }
        for configuration in LADDER
    }
    parts = arrange(model, LADDER, statistics)
    for weights in (FULL, WeightFormat(bits=8)):
        encoded = [replace(part, tensors=weights.encode_all(part.tensors)) for part in parts]
        described = {"spec": spec.model_dump_json(), "weights": weights.model_dump_json()}
        reader = PrefixReader()
        reader.feed(encode(encoded, described))
        yield reader


def rehearse_computing(reader: PrefixReader, images: Tensor) -> None:
    """Run every configuration that was received on ``images``, in the thread that will compute."""
    in_use = ModelInUse()
    for configuration in reader.completed():
        in_use.swap(configuration, reader.load(configuration))
        in_use.infer(images)


def touch_memory() -> None:
    """Have the memory that later allocations are made of.

    It stays with the process where malloc is set to give nothing back, as in every emulation.
    """
    bytes([1]) * ALLOCATED_BYTES
