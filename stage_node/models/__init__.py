"""Models as chains of named layers; a new family is one new file in this package.

The file holds a subclass of :class:`Family` with a ``name`` of its own, and is found by lying here:
there is no list to add it to. The family says

* ``layers``: the layers by name, in the order they run, each taking and giving (N, C, H, W), but
  for the last, which gives logits (N, classes). Pieces that exist are in ``parts``;
* ``inner_blocks`` and ``skippable``: which layers are blocks, and which of those the model runs
  without, for networks that are delivered progressively (``((),)`` and nothing where there are
  none);
* ``residual``: which layers have a skip connection inside, so that a cut within cannot be carried;
* ``options``, where it needs more than a :class:`ModelSpec` has: a :class:`FamilyOptions`,
  written as ``options: {...}`` in a specification and ``--option name=value`` when training.

Everything else follows from the chain: where it can be cut, shapes, compute, checkpoints, bases,
bottlenecks, training (``concertina train --family NAME``). ``vgg`` is a short one to begin with.
"""

import importlib
import pkgutil

from stage_node.models.chain import ChainModel, Segment, build_model
from stage_node.models.checkpoint import (
    load_checkpoint,
    load_layers,
    load_weights,
    save_checkpoint,
)
from stage_node.models.family import Family, FamilyOptions, ModelSpec, layers_of
from stage_node.models.files import load_model


def discover_families() -> None:
    """Import every module of this package, so that the families in them are registered."""
    for module in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        importlib.import_module(module.name)


discover_families()

__all__ = [
    "ChainModel",
    "Family",
    "FamilyOptions",
    "ModelSpec",
    "Segment",
    "build_model",
    "discover_families",
    "layers_of",
    "load_checkpoint",
    "load_layers",
    "load_model",
    "load_weights",
    "save_checkpoint",
]
