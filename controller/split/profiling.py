"""Costs of a model's layers: time on this machine, and bytes if the cut came after it."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from pydantic import BaseModel, ConfigDict

from stage_node.models import ChainModel
from stage_node.wire.frame import HEADER_BYTES

RUNS = 100
LEAST_RUNS = 5
BUDGET_S = 2.0
BYTES_PER_VALUE = 4


class LayerCost(BaseModel):
    """One layer's: compute time of a frame, and the size of the frame that it would send."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    compute_ms: float
    frame_bytes: int


def layer_costs(
    model: ChainModel, batch: int, layer_ms: Mapping[str, float]
) -> tuple[LayerCost, ...]:
    """Costs of all layers for frames of ``batch`` images, which take ``layer_ms``.

    Frames are counted uncompressed, with their header, without TCP's and IP's.
    """
    shapes = model.shapes(batch)
    return tuple(
        LayerCost(
            name=name,
            compute_ms=layer_ms[name],
            frame_bytes=HEADER_BYTES + BYTES_PER_VALUE * math.prod(shapes[name]),
        )
        for name in model.layer_names
    )


def measure_layers(model: ChainModel, batch: int) -> dict[str, float]:
    """Measure the milliseconds of every layer on one thread for ``batch`` images at once.

    Takes about two seconds. What other work does to a run only ever adds, so of many runs each
    layer's shortest counts; and processor time, not the clock's, so that a run need not be left
    alone from its beginning to its end to be a good one. The model runs in evaluation mode.
    """
    x = torch.zeros(batch, *model.input_shape)
    begin = time.monotonic()
    runs: list[list[float]] = []
    with one_thread():
        _times_ms(model, x)  # the first run allocates
        while len(runs) < RUNS and (len(runs) < LEAST_RUNS or time.monotonic() < begin + BUDGET_S):
            runs.append(_times_ms(model, x))
    return dict(zip(model.layer_names, map(min, zip(*runs, strict=True)), strict=True))


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes on one thread, as the stages do, and afterwards as before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@torch.inference_mode()
def _times_ms(model: ChainModel, x: torch.Tensor) -> list[float]:
    """Measure each layer in turn, once: processor time of this thread, ms."""
    times = []
    for layer in model.eval().layers.values():
        begin = time.thread_time_ns()
        x = layer(x)
        times.append((time.thread_time_ns() - begin) / 1e6)
    return times
