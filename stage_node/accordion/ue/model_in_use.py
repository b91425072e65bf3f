"""The model that an application runs at the moment, which may change under it at any time."""

import threading

import torch
from torch import Tensor

from stage_node.errors import BadModelError
from stage_node.models import Segment
from stage_node.records.configuration import Configuration


class ModelInUse:
    """One configuration at a time; a swap takes effect with the next inference.

    An inference keeps the model that it began with: layers never change once they are loaded, and
    a swap replaces the whole model, not parts of it. Any thread may swap or infer.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: tuple[Configuration, Segment] | None = None

    @property
    def configuration(self) -> Configuration | None:
        """Model of the next inference; None before the first swap."""
        current = self._current
        return None if current is None else current[0]

    def swap(self, configuration: Configuration, model: Segment) -> None:
        """Let the next inference run another configuration."""
        with self._lock:
            self._current = configuration, model

    def infer(self, images: Tensor) -> tuple[Configuration, Tensor]:
        """Logits (N, classes) of images (N, C, H, W), and the configuration that made them.

        ``BadModelError`` before the first swap.
        """
        with self._lock:
            current = self._current
        if current is None:
            raise BadModelError("no configuration of the model is here yet")
        configuration, model = current
        with torch.inference_mode():
            return configuration, model(images)
