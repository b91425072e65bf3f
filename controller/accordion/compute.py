"""The computing of a training: processor or GPU, precision, one process or several.

The same command runs everywhere. Under ``torchrun`` every process takes its share of each batch
and gradients are averaged: configurations leave blocks out, so what has a gradient differs from
step to step, but is the same in every process.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import torch
from torch import Tensor, distributed, nn

from stage_node.data import Dataset, Split, SplitName
from stage_node.errors import BadModelError

DeviceName = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16"]

Module = TypeVar("Module", bound=nn.Module)

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Compute:
    """A device, whether it computes in bfloat16, and this process' place among ``world``."""

    device: torch.device = CPU
    bf16: bool = False
    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Return True in the process that reports and writes."""
        return self.rank == 0

    def placed(self, module: Module) -> Module:
        """The module on the device, channels last: the layout that convolutions are fastest in."""
        module.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return module

    def holding(self, dataset: Dataset) -> Dataset:
        """The data set with its splits on the device, each from when it is first used."""
        if self.device == CPU:
            return dataset

        def load_split(name: SplitName) -> Split:
            split = dataset.split(name)
            return Split(split.images.to(self.device), split.labels.to(self.device))

        return replace(dataset, load_split=load_split)

    def images(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) on the device, channels last."""
        return images.to(self.device, memory_format=torch.channels_last)

    @property
    def precision_name(self) -> Precision:
        """The precision as the command line has it."""
        return "bf16" if self.bf16 else "fp32"

    @contextmanager
    def precision(self) -> Iterator[None]:
        """Forward passes in the chosen precision; weights and gradients stay in float32."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            yield

    def share(self, batch: Tensor) -> Tensor:
        """This process' part of a batch of indices."""
        return batch[self.rank :: self.world]

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Every process gets the mean of all gradients; nothing to do in one process alone."""
        if self.world == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        together = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(together)
        together /= self.world
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, mean in zip(gradients, torch.split(together, sizes), strict=True):
            gradient.copy_(mean.view_as(gradient))


ALONE = Compute()
"""One process on the processor, in float32."""


@contextmanager
def chosen_compute(device: DeviceName = "auto", precision: Precision = "auto") -> Iterator[Compute]:
    """Choose from the machine's devices: CUDA with bfloat16, else the processor in float32.

    Joins the group of processes that ``torchrun`` started, and leaves it in the end.
    ``BadModelError`` where CUDA is asked for and absent.
    """
    on_gpu = torch.cuda.is_available() if device == "auto" else device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        raise BadModelError("no CUDA device is there; use --device cpu")
    bf16 = on_gpu if precision == "auto" else precision == "bf16"
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    place = torch.device("cuda", local) if on_gpu else CPU
    if world == 1:
        yield Compute(place, bf16)
        return
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield Compute(place, bf16, distributed.get_rank(), world)
    finally:
        distributed.destroy_process_group()
