"""What each layer of a model costs: time on this machine, and bytes if the cut came after it."""

import math
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pydantic import BaseModel, ConfigDict

from stage_node.models import ChainModel
from stage_node.wire import HEADER_BYTES

RUNS = 9
LEAST_RUNS = 3
BUDGET_S = 1.0
BYTES_PER_VALUE = 4


class LayerCost(BaseModel):
    """One layer's: compute time of a frame, and the size of the frame that it would send."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    compute_ms: float
    frame_bytes: int


def profile_layers(model: ChainModel, batch: int) -> tuple[LayerCost, ...]:
    """Measure a model with frames of ``batch`` images; median of several runs on one thread.

    Takes about a second. Frames are counted uncompressed, with their header and without those of
    TCP and IP. The model runs in evaluation mode.
    """
    x = torch.zeros(batch, *model.input_shape)
    begin = time.monotonic()
    runs: list[list[float]] = []
    with one_thread():
        _times_ms(model, x)  # the first run allocates
        while len(runs) < RUNS and (len(runs) < LEAST_RUNS or time.monotonic() < begin + BUDGET_S):
            runs.append(_times_ms(model, x))
    shapes = model.shapes(batch)
    return tuple(
        LayerCost(
            name=name,
            compute_ms=statistics.median(times),
            frame_bytes=HEADER_BYTES + BYTES_PER_VALUE * math.prod(shapes[name]),
        )
        for name, times in zip(model.layer_names, zip(*runs, strict=True), strict=True)
    )


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
    """Of each layer in turn, once."""
    times = []
    for layer in model.eval().layers.values():
        begin = time.perf_counter_ns()
        x = layer(x)
        times.append((time.perf_counter_ns() - begin) / 1e6)
    return times
