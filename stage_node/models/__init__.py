"""Models as chains of named layers; a new family is one new file in this package."""

import importlib
import pkgutil

from stage_node.models.chain import ChainModel, Segment, build_model
from stage_node.models.checkpoint import (
    load_checkpoint,
    load_layers,
    load_weights,
    save_checkpoint,
)
from stage_node.models.family import Configuration, Family, ModelSpec, layers_of
from stage_node.models.files import load_model

for _module in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
    importlib.import_module(_module.name)

__all__ = [
    "ChainModel",
    "Configuration",
    "Family",
    "ModelSpec",
    "Segment",
    "build_model",
    "layers_of",
    "load_checkpoint",
    "load_layers",
    "load_model",
    "load_weights",
    "save_checkpoint",
]
